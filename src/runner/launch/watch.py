"""Keep looking at a run from a thread of its own, so that a slow store never holds up who supervises or displays."""

import threading

from runner.errors import UserError
from runner.runs.status import RunStatus, run_document, run_status
from runner.storage.store import NotFound, Store, StoreUnavailable

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
            except (StoreUnavailable, UserError, NotFound, ValueError, KeyError):
                self.store_answers = False  # a display is no place to fail; who supervises meets the same, and says so
            else:
                self.store_answers = True
            self._stop.wait(poll_seconds(self._store))
