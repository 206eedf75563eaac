"""The supervisor of a run on this machine: it starts one attempt after the other until the run has ended.

An attempt lives in a session of its own and dies with its supervisor. It is asked to stop with SIGTERM (it saves and
exits 75). After an interruption or a kill another attempt is started, as long as the run makes progress.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any, TypeVar

from runner.backends.base import AttemptRunner, RunningAttempt
from runner.backends.local.attempts import ENTRYPOINT, ProcessRunner
from runner.errors import UserError
from runner.exit_codes import CTRL_C, FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.notices import NoticeReader
from runner.paths import make_folder, state_folder, work_folder
from runner.runs.checkpoints.lineage import checkpoint_folders
from runner.runs.liveness import NewestAttempt, newest_attempt, write_cancelled, write_killed
from runner.runs.records import is_cancel_requested, run_result, times_reopened
from runner.storage.retry import retrying
from runner.storage.store import Store, StoreUnavailable
from runner.terminal import printable

R = TypeVar("R")


ATTEMPT_LOG = "attempt.log"
"""What the newest attempt has printed, in the run's state folder; all there is if it never reaches the store."""

_TICK_SECONDS = 0.1
_TAIL_LINES = 400
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How often and how long a supervisor tries."""

    fruitless_attempts: int = 10
    """Give up after this many attempts in a row without a newer durable checkpoint."""
    fruitless_outside_attempts: int = 5
    """The same for attempts that something outside of the run ended: a service, a mount, a GPU."""
    first_backoff_seconds: float = 1.0
    """The pause after the first fruitless attempt; it doubles with each. An attempt that got further: no pause."""
    longest_backoff_seconds: float = 60.0
    """The longest such pause."""
    grace_seconds: float = 120.0
    """How long an attempt may take to save after SIGTERM before it is killed."""


class Supervisor:
    """Runs attempts of one run. Use it once, from the main thread, with the run's lock held.

    Args:
        store: where the run lives.
        run_id: the run.
        environment: variables for the attempts, on top of this process's own.
        say: called with a sentence when something happens.
        on_tick: called about ten times a second, for a display.
        limits: how often and how long it tries.
        entrypoint: the module that runs an attempt.
        attempts: how attempts are started; None for processes of this machine.
        attended: whether somebody follows the run and can mend what failed outside of it. Then the run is left
            interrupted at once; else it is started again, within the limits.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        on_tick: Callable[[], None] = lambda: None,
        limits: Limits = Limits(),
        entrypoint: str = ENTRYPOINT,
        attempts: AttemptRunner | None = None,
        attended: bool = False,
    ) -> None:
        self._attended = attended
        self._store = store
        self._run_id = run_id
        self._environment = {**os.environ, **environment}
        self._say = say
        self._on_tick = on_tick
        self._limits = limits
        self._runner = ProcessRunner(entrypoint) if attempts is None else attempts
        self._folder = state_folder(store.url, run_id)
        self._signals: list[int] = []
        self._notices = NoticeReader(work_folder(store.url, run_id))
        self._ours = False
        self._last_code: int | None = None
        self._reopened = 0
        self.last_lines: list[str] = []
        """The last lines that the newest attempt printed; filled in when `run` returns."""
        self._result: Mapping[str, Any] | None = None

    def run(self) -> int:
        """Supervise to the end.

        Returns:
            0 succeeded, 1 failed or cancelled, 2 failed by a mistake of the caller's that the attempt found, 75
            interrupted (resume continues), 130 interrupted by Ctrl-C.

        Raises:
            UserError: this machine's state folder cannot be written, or the store refuses us before any attempt.
            StoreUnavailable: the store did not answer.
        """
        with self._signals_noted():
            try:
                code = self._attempts()
            except StoreUnavailable:
                if not self._signals:
                    raise
                code = self._stopped_by(INTERRUPTED)
            except UserError as error:
                # Credentials that expired while an attempt trained: how it ended is known here all the same.
                if self._last_code is None:
                    raise
                self._say(f"how the attempt ended is not recorded: {error}")
                code = self._stopped_by(INTERRUPTED) if self._last_code < 0 else self._last_code
        self.last_lines = _last_lines(self._folder / ATTEMPT_LOG)
        if self._result is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return code

    def _attempts(self) -> int:
        self._reopened = self._ask(lambda: times_reopened(self._store, self._run_id))
        fruitless = 0
        reached = self._durable_steps()
        while not self._signals and not self._ended_by_cancel():
            before = self._ask(lambda: newest_attempt(self._store, self._run_id))
            code, attempt = self._one_attempt(before.number if before else 0)
            self._result = self._ask(lambda: run_result(self._store, self._run_id))
            if self._result is not None:
                if self._result["state"] == "succeeded":
                    return SUCCEEDED
                return MISTAKE if code == MISTAKE and self._result["state"] == "failed" else FAILED
            if self._ended_by_cancel():
                break
            if not self._may_try_again(code, attempt):
                return self._stopped_by(code)
            now = self._durable_steps()
            fruitless = 0 if now - reached else fruitless + 1
            reached |= now
            outside = attempt is not None and attempt.ended is not None and attempt.ended.get("outside", False)
            limit = self._limits.fruitless_outside_attempts if outside else self._limits.fruitless_attempts
            if fruitless >= limit:
                self._say(f"giving up: {fruitless} attempts in a row got no further than the last checkpoint")
                return INTERRUPTED
            self._pause(fruitless)
        return FAILED if self._result is not None else self._stopped_by(INTERRUPTED)

    def _stopped_by(self, code: int) -> int:
        """The exit code of a run that can be resumed."""
        return CTRL_C if self._signals[:1] == [signal.SIGINT] or (not self._signals and code == CTRL_C) else INTERRUPTED

    def _durable_steps(self) -> set[tuple[str, int]]:
        """The stages and steps of all checkpoints that are committed now."""
        folders = self._ask(lambda: checkpoint_folders(self._store, self._run_id))
        return {(name.stage, name.step) for name, committed in folders.items() if committed}

    def _one_attempt(self, number_before: int) -> tuple[int, NewestAttempt | None]:
        """Run one attempt to its end; its exit code (negative: the signal that killed it) and its records."""
        with self._attempt_log() as log:
            self._notices = NoticeReader(work_folder(self._store.url, self._run_id))
            process = self._runner.start(self._store.url, self._run_id, environment=self._environment, log=log)
        try:
            code = self._wait(process)
        finally:
            # Nothing of the attempt outlives this call, however it ended.
            process.clear()
        self._last_code = code
        if code != CTRL_C and code - 128 in signal.valid_signals():
            code = 128 - code  # a shell's way of saying that a signal killed it
        attempt = self._ask(lambda: newest_attempt(self._store, self._run_id))
        if attempt is None or attempt.number <= number_before:
            return code, None
        self._ours = process.made(attempt.claim)
        if self._ours and attempt.ended is None and code < 0:
            self._ask(lambda: write_killed(self._store, attempt, signal_number=-code))
        return code, attempt

    def _wait(self, process: RunningAttempt) -> int:
        """Wait for the attempt; hand signals on; kill it when it does not stop."""
        kill_at: float | None = None
        while (code := process.wait(_TICK_SECONDS)) is None:
            if self._signals and kill_at is None:
                process.stop()
                kill_at = time.monotonic() + self._limits.grace_seconds
                self._say("stopping: the attempt saves a checkpoint first (Ctrl-C again kills it at once)")
            hurried = self._signals.count(signal.SIGINT) > 1
            if kill_at is not None and (hurried or time.monotonic() > kill_at):
                process.kill()
            self._pass_on()
            self._on_tick()
        self._pass_on()
        return code

    def _pass_on(self) -> None:
        """Say what the attempt would have us say: warnings, and where it begins."""
        for notice in self._notices.read():
            self._say(printable(str(notice)))

    def _may_try_again(self, code: int, attempt: NewestAttempt | None) -> bool:
        """Whether another attempt makes sense after one that left no result; says why if not."""
        if self._signals:
            return False
        ended = attempt.ended if attempt else None
        if ended is not None and not ended.get("retry", True):
            self._say(f"not started again: {printable(ended.get('reason') or 'no reason was recorded')}")
            return False
        if ended is not None and ended.get("outside") and self._attended:
            self._say("left as it is, since you may have to see to that first")
            return False
        if attempt is not None and not self._ours and attempt.alive():
            host = attempt.claim.get("host")
            self._say(f"not started again: attempt {attempt.number} of the run began elsewhere, on {host}")
            return False
        if code < 0:
            self._say(f"the attempt was killed ({signal.Signals(-code).name}); starting it again")
            return True
        if code == INTERRUPTED:
            self._say("the attempt was interrupted; starting it again")
            return True
        if code != CTRL_C:
            self._say(f"not started again: the attempt exited with {code} and left no result")
        return False

    def _pause(self, fruitless: int) -> None:
        """Wait before the next attempt, unless the last one made progress, or a signal asks us to stop."""
        if not fruitless:
            return
        seconds = min(self._limits.longest_backoff_seconds, self._limits.first_backoff_seconds * 2.0 ** (fruitless - 1))
        until = time.monotonic() + seconds
        look_at = time.monotonic() + 1.0
        while time.monotonic() < until and not self._signals:
            self._on_tick()
            time.sleep(min(_TICK_SECONDS, seconds))
            if time.monotonic() > look_at:
                if self._cancelled():
                    return
                look_at = time.monotonic() + 1.0

    def _cancelled(self) -> bool:
        """Whether the run's cancellation was requested."""
        return self._ask(lambda: is_cancel_requested(self._store, self._run_id, reopened=self._reopened))

    def _ended_by_cancel(self) -> bool:
        """End the run as cancelled if that was requested, now that no attempt is running; return whether it was."""
        if not self._cancelled():
            return False
        self._ask(lambda: write_cancelled(self._store, self._run_id))
        self._result = self._ask(lambda: run_result(self._store, self._run_id))
        return True

    def _ask(self, call: Callable[[], R]) -> R:
        """Ask the store, again and again while it does not answer, until a signal asks us to stop."""
        return retrying(call, until=lambda: bool(self._signals), on_retry=self._report_store_away)

    def _report_store_away(self, error: StoreUnavailable, pause_seconds: float) -> None:
        self._say(f"the store does not answer ({error}); asking again in {pause_seconds:.0f} s")

    def _attempt_log(self) -> IO[bytes]:
        """The local file for what the newest attempt prints."""
        try:
            make_folder(work_folder(self._store.url, self._run_id))
            return (self._folder / ATTEMPT_LOG).open("wb")
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror}",
                where=str(self._folder),
                remedy="make room there, or point XDG_STATE_HOME to a folder with room",
            ) from error

    @contextlib.contextmanager
    def _signals_noted(self) -> Iterator[None]:
        """Record the signals that ask us to stop, in their order; the loop acts on them."""

        def note(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _last_lines(path: Path) -> list[str]:
    """Return the last lines of a text file; none if it does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-_TAIL_LINES:]
