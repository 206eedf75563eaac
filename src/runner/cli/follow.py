"""Show a run's progress and say how it ends: what `launch` and `resume` do when the run has been started."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from runner.backends.base import poll_seconds
from runner.cli.hints import as_typed
from runner.cli.output import print_json, run_outcome, say, show
from runner.control.wait import RunWaiter, Watch
from runner.errors import UserError
from runner.exit_codes import CTRL_C, MISTAKE
from runner.reports import summary
from runner.reports.progress import Display, open_display
from runner.runs.records import run_result
from runner.runs.status import RunStatus, exit_code, run_status
from runner.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from runner.backends.base import Supervision
    from runner.control.launching.start import Launched
    from runner.runs.layout import CheckpointName
    from runner.storage.store import Store


def follow(store: "Store", launched: "Launched", *, detach: bool, as_json: bool) -> int:
    """Show a run's progress to its end, or print its id if it is to be left alone.

    Returns:
        The exit code.
    """
    run_id, started = launched.run_id, launched.started
    if started.supervise is not None:
        with screen(store, run_id) as display:
            supervision = started.supervise(display.say, display.tick)
        return _report_end(store, run_id, supervision, as_json=as_json)
    if not detach:
        return _watch(store, run_id, as_json=as_json)
    joined = started.pid is None and started.job is None
    status = run_status(store, run_id) if as_json or joined else None
    if as_json and status is not None:
        print_json(run_outcome(status, store.url))
    else:
        show(run_id)
    if joined and status is not None and status.terminal:
        say(ending(store, status))
        return exit_code(status)
    where = "It runs in the background." if started.pid is not None else "It runs without this command."
    follow_it = [(as_typed(f"logs -f {run_id}"), "follow it"), (as_typed(f"wait {run_id}"), "wait for its end")]
    say(f"{where}\n{summary.next_commands(follow_it)}")
    return 0


def _report_end(store: "Store", run_id: str, supervision: "Supervision", *, as_json: bool) -> int:
    """Say how a run ended that was supervised here; returns the exit code."""
    code = supervision.exit_code
    try:
        status = run_status(store, run_id)
    except (StoreUnavailable, UserError) as error:
        say(f"{run_id} was interrupted, and the store does not answer: {error}")
        return code
    if code == CTRL_C:
        say(ending(store, status, by="Ctrl-C"))
    else:
        say(ending(store, status, log_tail=supervision.last_lines))
    if as_json:
        print_json(run_outcome(status, store.url))
    return code if code in (CTRL_C, MISTAKE) else exit_code(status)


@contextlib.contextmanager
def screen(store: "Store", run_id: str) -> "Iterator[Screen]":
    """Open the display of a run while it is followed."""
    with Watch(store, run_id) as watch, Screen(watch) as display:
        yield display


class Screen:
    """The display. It is opened when it is first needed, so that the attempt starts before anything is imported for it.

    A terminal that has been closed, or a pipe without a reader, ends the display and nothing else.
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


def ending(store: "Store", status: RunStatus, *, by: str | None = None, log_tail: Sequence[str] = ()) -> str:
    """How a run ended, for people, with what to do next.

    Args:
        store: where it lives.
        status: its newest status.
        by: what the person here has interrupted it with.
        log_tail: the last lines of its log.
    """
    if status.state == "succeeded":
        result = run_result(store, status.run_id)
        assert result is not None
        return "\n" + summary.summarize_success(result, run_id=status.run_id, store_url=store.url, typed=as_typed)
    if status.terminal:
        return "\n" + summary.summarize_failure(
            run_id=status.run_id, state=status.state, reason=status.reason, log_tail=log_tail, typed=as_typed
        )
    if status.state == "running":
        return f"\n{status.run_id} goes on elsewhere; `{as_typed(f'logs -f {status.run_id}')}` follows it"
    if status.paused:
        return f"\n{status.run_id} is {status.reason}; its sweep goes on with it, if it is among the best"
    newest = _newest_checkpoint(store, status.run_id)
    return "\n" + summary.summarize_interruption(
        run_id=status.run_id,
        reason=status.reason,
        by=by,
        checkpoint_step=None if newest is None else newest.step,
        stage=newest.stage if newest is not None and status.stage_count else None,
        log_tail=log_tail,
        options=" --max-cost DOLLARS" if status.capped else "",
        typed=as_typed,
    )


def _newest_checkpoint(store: "Store", run_id: str) -> "CheckpointName | None":
    from runner.runs.checkpoints.lineage import checkpoints

    return next(iter(checkpoints(store, run_id)), None)


def _watch(store: "Store", run_id: str, *, as_json: bool) -> int:
    """Show the progress of a run that does not need us, until its end or Ctrl-C; returns the exit code."""
    waiter = RunWaiter(store, run_id)
    shown = None
    try:
        with screen(store, run_id) as display:
            while True:
                try:
                    status, at_rest = waiter.look()
                except StoreUnavailable:
                    at_rest = False
                else:
                    shown = _say_what_is_new(display.say, status, shown)
                display.tick()
                if at_rest:
                    break
                _pause(display.tick, poll_seconds(store))
    except KeyboardInterrupt:
        ways = [(as_typed(f"logs -f {run_id}"), "follow it"), (as_typed(f"cancel {run_id}"), "end it")]
        say(f"\n{run_id} goes on.\n{summary.next_commands(ways)}")
        return CTRL_C
    say(ending(store, status))
    if as_json:
        print_json(run_outcome(status, store.url))
    return exit_code(status)


def _say_what_is_new(tell: Callable[[str], None], status: RunStatus, shown: str | None) -> str | None:
    """Say the run's state if it differs from `shown`, which was said last; returns it."""
    now = (
        f"attempt {status.attempts} runs"
        if status.state == "running"
        else f"{status.shown_state}: {status.reason or '…'}"
    )
    if status.stalled:
        now += f", but makes {status.stalled.partition(' for ')[0]} any more"
    if now != shown and not status.terminal:
        tell(now)
    return now


def _pause(tick: Callable[[], None], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tick()
        time.sleep(0.1)
