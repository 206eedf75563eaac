"""``runner wait``."""

from typing import TYPE_CHECKING

import click

from runner.cli.ci.cancelling import cancelled_by_signals
from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import print_json, run_outcome, say

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--timeout", "timeout_seconds", metavar="SECONDS", type=click.FloatRange(min=0), help="Wait no longer.")
@click.option("--cancel-on-signal", is_flag=True, help="Cancel the run if a signal ends this command, as in a CI job.")
@json_option
@store_option
def wait(store: "Store", run: str, timeout_seconds: float | None, cancel_on_signal: bool, as_json: bool) -> None:
    """Wait until a run has ended, and exit as it did.

    Exits 0 if it succeeded, 1 if it failed or was cancelled, 2 if it failed by a mistake in its recipe or data, 75 if
    it was interrupted and is not continued, or if it outlasts the timeout. With --json, prints its result.

    \b
    Example:
      runner wait last --timeout 3600
    """
    from runner.control.wait import wait_for_end
    from runner.runs.listing import find_run
    from runner.runs.records import run_result
    from runner.runs.status import exit_code

    run_id = find_run(store, run)
    with cancelled_by_signals(store, run_id, active=cancel_on_signal):
        status = wait_for_end(store, run_id, timeout_seconds=timeout_seconds, say=say)
    if as_json:
        print_json(run_outcome(status, store.url) | (run_result(store, run_id) or {}))
    elif status.state == "running":
        say(f"{run_id} is still running; `runner wait {run_id}` waits on")
    elif status.paused:
        say(f"{run_id} is {status.reason}; its sweep goes on with it, if it is among the best")
    elif not status.terminal:
        say(f"{run_id} is {status.state}; `runner resume {run_id}` continues it")
    else:
        say(f"{run_id} {status.state}" + (f": {status.reason}" if status.reason else ""))
    raise click.exceptions.Exit(exit_code(status))
