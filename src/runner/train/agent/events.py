"""Events from a training process to the agent that started it: JSON lines through a pipe.

The agent (`runner.train.entrypoint`) outlives a crash of the training process, so it writes the heartbeat, the end of
the attempt and the result. Events carry what goes into them: ``progress``, ``notice`` and, last, ``outcome``. What has
no news but goes on says ``alive``.
"""

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

PROGRESS_SECONDS = 0.2
ALIVE_SECONDS = 1.0


class Events:
    """The training process's end of the pipe. Thread-safe. Training goes on if the reader has gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._last_progress = 0.0
        self._last_alive = 0.0
        self._progress_lock = threading.Lock()
        self._withheld: dict[str, Any] = {}

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event. It does not raise if the reader has gone."""
        line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                return

    def phase(self, phase: str, message: str | None = None) -> None:
        """Report that a phase has begun: ``loading``, ``training``, ``exporting``…"""
        self.send_withheld()
        self.send("progress", phase=phase, message=message)

    def alive(self) -> None:
        """Report that another batch is done; sent at most once a second."""
        now = time.monotonic()
        if now - self._last_alive >= ALIVE_SECONDS:
            self._last_alive = now
            self.send("alive")

    def progress(self, *, force: bool = False, **fields: Any) -> None:
        """Report how far training is. Without `force`, at most five reports a second are sent.

        The newest of those that are withheld is sent by the next report, or by `send_withheld`.
        """
        now = time.monotonic()
        with self._progress_lock:
            self._withheld = {**self._withheld, **fields}
            if not force and now - self._last_progress < PROGRESS_SECONDS:
                return
            self._last_progress = now
            latest, self._withheld = self._withheld, {}
            self.send("progress", **latest)

    def send_withheld(self) -> None:
        """Send the newest progress, if it was withheld: the step that is the last for a while must be known."""
        with self._progress_lock:
            latest, self._withheld = self._withheld, {}
            if latest:
                self.send("progress", **latest)


def read_events(descriptor: int, on_event: Callable[[dict[str, Any]], None]) -> None:
    """Call `on_event` for each event until the writer has gone. A torn last line (the writer was killed) is dropped."""
    with os.fdopen(descriptor, "rb") as pipe:
        for line in pipe:
            if not line.endswith(b"\n"):
                return
            on_event(json.loads(line))
