"""How far an attempt is, and the heartbeat that says it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runner.runs.attempts import Claim, write_heartbeat
from runner.runs.records import utc_now
from runner.storage.retry import STORE_ERRORS
from runner.storage.store import Store


class Heartbeat:
    """Knows how far an attempt is, and writes it to the store.

    Args:
        store: where the run lives.
        claim: the attempt.
        every_seconds: between two heartbeats of `beating`.
        more: returns further fields.
        after: called after each; what it cannot write to the store is no reason to stop.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        *,
        every_seconds: float,
        more: Callable[[], Mapping[str, Any]],
        after: Callable[[], None],
    ) -> None:
        self._store = store
        self._claim = claim
        self._every_seconds = every_seconds
        self._more = more
        self._after = after
        self.progress: dict[str, Any] = {"phase": "starting"}
        """The newest of what the first training process and the agent say."""
        self.default_message: str | None = None
        """What it says where the worker says nothing."""

    def write(self) -> None:
        """Write a heartbeat. A store that does not answer now is no reason to stop."""
        message = self.progress.get("message") or self.default_message
        try:
            write_heartbeat(
                self._store, self._claim, {"at": utc_now(), **self.progress, **self._more(), "message": message}
            )
            self._after()
        except STORE_ERRORS:
            return

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Within, write heartbeats from a thread of their own."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self._every_seconds):
                self.write()

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
