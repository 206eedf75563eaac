"""Wait for a run's end, on any machine that can read its store."""

import threading
import time
from collections.abc import Callable

from runner.backends.base import poll_seconds
from runner.backends.lock import lock_holder
from runner.backends.registry import backend_for
from runner.errors import UserError
from runner.paths import state_folder
from runner.process import boot_id
from runner.runs.launches import submission_boot_id
from runner.runs.layout import RUN, run_key
from runner.runs.liveness import newest_attempt
from runner.runs.records import DamagedRecord, exists, run_document
from runner.runs.status import RunStatus, run_status
from runner.storage.store import NotFound, Store, StoreUnavailable

RESTART_SECONDS = 120.0
"""An interrupted run that no supervisor has started again for so long stays so: twice the longest pause of one."""


class RunWaiter:
    """Looks at a run again and again, and knows when there is nothing left to wait for.

    Raises:
        NotFound: there is no such run.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._document = run_document(store, run_id)
        self._idle_since: float | None = None

    def look(self) -> tuple[RunStatus, bool]:
        """Return the run's status, and whether it will stay so: it has ended, or nothing is going to continue it."""
        status = run_status(self._store, self._run_id, document=self._document)
        if status.terminal:
            return status, True
        if not status.attempts and not exists(self._store, run_key(self._run_id, RUN)):
            raise NotFound(run_key(self._run_id, RUN))  # deleted meanwhile
        if status.state == "running" or lock_holder(state_folder(self._store.url, self._run_id)) is not None:
            self._idle_since = None
            return status, False
        backend = backend_for(status.infra)
        if not backend.supervised_here:
            # The backend works on it, for hours if there is no capacity, until it says that it has stopped.
            backend.refresh(self._store, [self._run_id])
            return status, not status.retry
        if not status.retry or self._was_here():
            # Its supervisor was on this machine and has ended, or has said that it will not continue.
            return status, True
        self._idle_since = self._idle_since or time.monotonic()
        return status, time.monotonic() - self._idle_since > RESTART_SECONDS

    def _was_here(self) -> bool:
        """Whether this machine, since it was booted, was the last one to work on the run."""
        attempt = newest_attempt(self._store, self._run_id)
        if attempt is not None:
            return attempt.process_here() is not None
        launched_from = submission_boot_id(self._store, self._run_id)
        return launched_from is not None and launched_from == boot_id()


def wait_for_end(
    store: Store,
    run_id: str,
    *,
    timeout_seconds: float | None = None,
    say: Callable[[str], None] = lambda text: None,
    show: Callable[[RunStatus], None] = lambda status: None,
) -> RunStatus:
    """Look at a run until it has ended, is interrupted and will not be continued, or time is up.

    Args:
        store: where the run lives.
        run_id: the run.
        timeout_seconds: for how long; None: without a limit.
        say: called with a sentence when the run makes no progress any more, and when the store does not answer.
        show: called with the status at each look.

    Raises:
        NotFound: there is no such run.
        StoreUnavailable: the store does not answer, and time is up. Before that it is asked again.
    """
    waiter = RunWaiter(store, run_id)
    until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    stalled = away = False
    said: tuple[str, str | None] | None = None
    while True:
        try:
            status, at_rest = waiter.look()
        except StoreUnavailable as error:
            if until is not None and time.monotonic() >= until:
                raise
            if not away:
                say(f"the store does not answer ({error}); asking again")
            away = True
        else:
            away = False
            show(status)
            if status.stalled and not stalled:
                say(_stalled_sentence(status))
            stalled = bool(status.stalled)
            now = (status.state, status.reason)
            if not at_rest and status.state == "interrupted" and now != said:
                said = now
                say(
                    f"{status.run_id} is interrupted ({status.reason or 'no reason is known'}); waiting for its restart"
                )
            if at_rest or (until is not None and time.monotonic() >= until):
                return status
        pause = poll_seconds(store)
        time.sleep(pause if until is None else max(0.0, min(pause, until - time.monotonic())))


def _stalled_sentence(status: RunStatus) -> str:
    ended = f"; after {status.hang_seconds:.0f} s it is ended and tried again" if status.hang_seconds else ""
    return f"{status.run_id} is running, but {status.stalled} (step {status.step}, {status.phase}){ended}"


class Watch:
    """Reads a run's status again and again in a thread, while the context is open."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._document = run_document(store, run_id)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_forever, name=f"watch {run_id}", daemon=True)
        self.status: RunStatus | None = None
        """The newest status; None before the first look."""
        self.store_answers = True
        """Whether the last look succeeded."""

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()

    def look(self) -> RunStatus:
        """Read the status now, in the caller's thread."""
        self.status = run_status(self._store, self._run_id, document=self._document)
        return self.status

    def _look_forever(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except (StoreUnavailable, UserError, NotFound, DamagedRecord):
                self.store_answers = (
                    False  # a display must not fail; the supervisor meets the same error, and reports it
                )
            else:
                self.store_answers = True
            self._stop.wait(poll_seconds(self._store))
