"""Wait for a run's end, from anywhere that sees its store."""

import threading
import time

from runner.backends.lock import lock_holder
from runner.backends.skypilot.job_status import refresh_in_background
from runner.errors import UserError
from runner.paths import state_folder
from runner.process import boot_id
from runner.runs.launches import is_remote
from runner.runs.liveness import newest_attempt
from runner.runs.records import DamagedRecord, run_document
from runner.runs.status import RunStatus, run_status
from runner.runs.submission import submission_boot_id
from runner.storage.store import NotFound, Store, StoreUnavailable

RESTART_SECONDS = 120.0
"""An interrupted run that nobody has started again for so long stays so: twice a supervisor's longest pause."""


class RunWaiter:
    """Looks at a run again and again, and knows when there is nothing to wait for any more.

    Args:
        store: where the run lives.
        run_id: the run.

    Raises:
        NotFound: there is no such run.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._document = run_document(store, run_id)
        self._idle_since: float | None = None

    def look(self) -> tuple[RunStatus, bool]:
        """How the run stands, and whether that is how it stays: it has ended, or nobody is going to continue it."""
        status = run_status(self._store, self._run_id, document=self._document)
        if status.terminal:
            return status, True
        if status.state == "running" or lock_holder(state_folder(self._store.url, self._run_id)) is not None:
            self._idle_since = None
            return status, False
        if is_remote(status.infra):
            # SkyPilot is at it, for hours if there is no capacity, until it says that it is not any more.
            refresh_in_background(self._store.url, [self._run_id])
            return status, not status.retry
        if not status.retry or self._was_here():
            # Its supervisor was on this machine and is not any more, or has said that it will not go on.
            return status, True
        self._idle_since = self._idle_since or time.monotonic()
        return status, time.monotonic() - self._idle_since > RESTART_SECONDS

    def _was_here(self) -> bool:
        """Whether this machine, in its present life, was the last to work on the run."""
        attempt = newest_attempt(self._store, self._run_id)
        if attempt is not None:
            return attempt.process_here() is not None
        boot = submission_boot_id(self._store, self._run_id)
        return boot is not None and boot == boot_id()


def wait_for_end(store: Store, run_id: str, *, timeout_seconds: float | None = None) -> RunStatus:
    """Look at a run until it has ended, is interrupted with nobody to continue it, or time is up.

    Raises:
        NotFound: there is no such run.
        StoreUnavailable: the store has not answered, and time is up. Before that it is asked again.
    """
    vigil = RunWaiter(store, run_id)
    until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        try:
            status, at_rest = vigil.look()
        except StoreUnavailable:
            if until is not None and time.monotonic() >= until:
                raise
        else:
            if at_rest or (until is not None and time.monotonic() >= until):
                return status
        pause = poll_seconds(store)
        time.sleep(pause if until is None else max(0.0, min(pause, until - time.monotonic())))


LOCAL_SECONDS, REMOTE_SECONDS = 0.5, 2.0
"""How often a folder and a store behind a network are asked."""


def poll_seconds(store: Store) -> float:
    """How long to wait between two looks at a run of this store."""
    return REMOTE_SECONDS if "://" in store.url and not store.url.startswith("file://") else LOCAL_SECONDS


class Watch:
    """The last look at a run. A context manager: looking ends with it."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._document = run_document(store, run_id)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_forever, name=f"watch {run_id}", daemon=True)
        self.status: RunStatus | None = None
        """What was seen last; None before the first look."""
        self.store_answers = True
        """Whether the last look succeeded."""

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()

    def look(self) -> RunStatus:
        """Look now, in the caller's thread."""
        self.status = run_status(self._store, self._run_id, document=self._document)
        return self.status

    def _look_forever(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except (StoreUnavailable, UserError, NotFound, DamagedRecord):
                self.store_answers = False  # a display is no place to fail; who supervises meets the same, and says so
            else:
                self.store_answers = True
            self._stop.wait(poll_seconds(self._store))
