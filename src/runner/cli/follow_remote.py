"""Hand a run to SkyPilot and follow it from its store: what `launch` and `resume` do with a run for elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from runner.cli.hints import as_typed
from runner.cli.output import print_json, run_outcome, say
from runner.control.wait import Vigil
from runner.exit_codes import CTRL_C, exit_code
from runner.launch.watch import poll_seconds
from runner.runs.status import RunStatus, run_status
from runner.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from runner.storage.store import Store


def launch_remote(
    store: "Store",
    document: Mapping[str, Any],
    *,
    cluster: str | None,
    environment: Mapping[str, str],
    detach: bool,
    as_json: bool,
) -> int:
    """Hand a run over, and follow it unless it is to be left alone.

    Returns:
        The exit code.
    """
    from runner.backends.skypilot.backend import hand_over

    run_id = document["run_id"]
    say(f"{run_id}: handing it to SkyPilot, which takes some seconds")
    # SkyPilot's own words are of use to who watches; a program gets the one message of an error.
    talk = sys.stderr if sys.stderr.isatty() else None
    try:
        launch = hand_over(store, document, cluster=cluster, environment=environment, talk=talk)
    except KeyboardInterrupt:
        say(f"\nSkyPilot may have it already; `{as_typed(f'cancel {run_id}')}` sees to it that nothing is left")
        raise
    what = f"job {launch.job and launch.job['job_id']} on cluster {cluster}" if cluster else launch.record["name"]
    say(f"SkyPilot has it: {what}, on {document['infra'] if document['infra'] != '*' else 'what it chooses'}")
    if not detach:
        return _follow(store, run_id, as_json=as_json)
    if as_json:
        print_json(run_outcome(run_status(store, run_id), store.url))
    else:
        click.echo(run_id)
    say(f"`{as_typed(f'logs -f {run_id}')}` follows it, `{as_typed(f'wait {run_id}')}` waits for its end")
    return 0


def _follow(store: "Store", run_id: str, *, as_json: bool) -> int:
    """Show the run's progress until its end, or until somebody has seen enough."""
    from runner.cli.follow import ending, screen

    vigil = Vigil(store, run_id)
    said = None
    try:
        with screen(store, run_id) as display:
            while True:
                try:
                    status, at_rest = vigil.look()
                except StoreUnavailable:
                    at_rest = False
                else:
                    said = _say_what_is_new(display.say, status, said)
                display.tick()
                if at_rest:
                    break
                _pause(display.tick, poll_seconds(store))
    except KeyboardInterrupt:
        follow, cancel = as_typed(f"logs -f {run_id}"), as_typed(f"cancel {run_id}")
        say(f"\n{run_id} goes on. `{follow}` follows it; `{cancel}` ends it")
        return CTRL_C
    say(ending(store, status))
    if as_json:
        print_json(run_outcome(status, store.url))
    return exit_code(status)


def _say_what_is_new(tell: Any, status: RunStatus, said: str | None) -> str | None:
    """Where the run stands, if it stands elsewhere than when that was last said."""
    now = f"attempt {status.attempts} runs" if status.state == "running" else f"{status.state}: {status.reason or '…'}"
    if now != said and not status.terminal:
        tell(now)
    return now


def _pause(tick: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tick()
        time.sleep(0.1)
