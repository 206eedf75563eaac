"""Supervise a run in the foreground or the background, and say how it ends: what `launch` and `resume` share."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from runner.backends.local import backend, supervisor
from runner.backends.local.registry import backend_of
from runner.cli.hints import as_typed
from runner.cli.output import print_json, run_outcome, say
from runner.control.wait import RunWaiter, Watch, poll_seconds
from runner.exit_codes import CTRL_C, MISTAKE
from runner.reports import summary
from runner.reports.progress import Display, open_display
from runner.runs.launches import run_placement
from runner.runs.records import run_result
from runner.runs.status import RunStatus, exit_code, run_status
from runner.runs.submission import write_submission
from runner.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from runner.storage.store import Store

if TYPE_CHECKING:
    from runner.backends.lock import RunLock
    from runner.runs.layout import CheckpointName
    from runner.storage.store import Store


def run_attached(store: "Store", run_id: str, lock: "RunLock", *, environment: Mapping[str, str], as_json: bool) -> int:
    """Supervise a run to its end, show its progress, say how it ended.

    Returns:
        The exit code.
    """
    engine = backend_of(run_placement(store, run_id), entrypoint=backend.ENTRYPOINT)
    write_submission(store, run_id, pid=os.getpid(), environment=_names(environment))
    with screen(store, run_id) as display:
        watched = supervisor.Supervisor(
            store,
            run_id,
            environment=environment,
            say=display.say,
            on_tick=display.tick,
            engine=engine,
        )
        code = watched.run()
    lock.close()
    try:
        status = run_status(store, run_id)
    except StoreUnavailable as error:
        say(f"{run_id} was interrupted, and the store does not answer: {error}")
        return code
    say(ending(store, status, log_tail=[] if code == CTRL_C else watched.last_lines))
    if as_json:
        print_json(run_outcome(status, store.url))
    return code if code in (CTRL_C, MISTAKE) else exit_code(status)


def run_detached(store: "Store", run_id: str, lock: "RunLock", *, environment: Mapping[str, str], as_json: bool) -> int:
    """Start a run's supervisor in the background, and print the run's id.

    Returns:
        The exit code: 0 when the run is under way.
    """
    from runner.backends.local.detached import start_detached

    start_detached(
        store,
        run_id,
        lock,
        environment=environment,
        entrypoint=backend.ENTRYPOINT,
        on_start=lambda pid: write_submission(store, run_id, pid=pid, environment=_names(environment)),
    )
    if as_json:
        print_json(run_outcome(run_status(store, run_id), store.url))
    else:
        click.echo(run_id)
    follow, wait = as_typed(f"logs -f {run_id}"), as_typed(f"wait {run_id}")
    say(f"it runs in the background: `{follow}` follows it, `{wait}` waits for its end")
    return 0


@contextlib.contextmanager
def screen(store: "Store", run_id: str) -> "Iterator[Screen]":
    """The display of a run while somebody follows it."""
    with Watch(store, run_id) as watch, Screen(watch) as display:
        yield display


class Screen:
    """The display, opened at the first need: the attempt is started before anything is imported for it.

    A terminal that is gone (closed, or a pipe whose reader has left) ends the display, and nothing else.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._display: Display | None = None
        self._away = False
        self._gone = False

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._display is not None:
            with contextlib.suppress(OSError):
                self._display.close()

    def say(self, sentence: str) -> None:
        """Something happened."""
        self._try(lambda display: display.say(sentence))

    def tick(self) -> None:
        """Show what was seen last."""
        status = self._watch.status
        if status is not None:
            self._try(lambda display: display.show(status))
        if self._away == self._watch.store_answers:
            self._away = not self._away
            self.say("the store does not answer; asking again" if self._away else "the store answers again")

    def _try(self, use: Callable[[Display], None]) -> None:
        if self._gone:
            return
        try:
            if self._display is None:
                self._display = open_display(sys.stderr)
            use(self._display)
        except OSError:
            self._gone = True


def _names(environment: Mapping[str, str]) -> list[str]:
    from runner.runs.layout import SECRET_NAMES

    return [name for name in environment if name != SECRET_NAMES]


def ending(store: "Store", status: RunStatus, *, log_tail: Sequence[str] = ()) -> str:
    """How a run ended, for people, with what to do next."""
    if status.state == "succeeded":
        result = run_result(store, status.run_id)
        assert result is not None
        return "\n" + summary.succeeded(result, run_id=status.run_id, store_url=store.url, typed=as_typed)
    if status.terminal:
        return "\n" + summary.failed(
            run_id=status.run_id, state=status.state, reason=status.reason, log_tail=log_tail, typed=as_typed
        )
    if status.state == "running":
        return f"\n{status.run_id} goes on elsewhere; `{as_typed(f'logs -f {status.run_id}')}` follows it"
    newest = _newest_checkpoint(store, status.run_id)
    return "\n" + summary.interrupted(
        run_id=status.run_id,
        reason=status.reason,
        checkpoint_step=None if newest is None else newest.step,
        stage=newest.stage if newest is not None and status.stage_count else None,
        log_tail=log_tail,
        typed=as_typed,
    )


def _newest_checkpoint(store: "Store", run_id: str) -> "CheckpointName | None":
    from runner.runs.lineage import checkpoints

    return next(iter(checkpoints(store, run_id)), None)


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

    vigil = RunWaiter(store, run_id)
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
