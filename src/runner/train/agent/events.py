"""What the training process tells the attempt that started it: JSON lines through a pipe.

The attempt (`runner.train.entrypoint`) outlives a crash of the training process, so it is the one that writes the
heartbeat, the end of the attempt and the result; the training process says here what goes into them.
"""

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

PROGRESS_SECONDS = 0.2


class Events:
    """The training process's end of the pipe. Thread-safe; a reader that is gone is no reason to stop training."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._last_progress = 0.0

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event; never raises for a reader that has gone."""
        line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                return

    def phase(self, phase: str, message: str | None = None) -> None:
        """A new phase began: ``loading``, ``training``, ``exporting``…"""
        self.send("progress", phase=phase, message=message)

    def progress(self, *, force: bool = False, **fields: Any) -> None:
        """How far training is; thinned to a few a second unless `force`."""
        now = time.monotonic()
        if force or now - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = now
            self.send("progress", **fields)


def read_events(descriptor: int, on_event: Callable[[dict[str, Any]], None]) -> None:
    """Call `on_event` for each event until the writer is gone. A torn last line (the writer was killed) is dropped."""
    with os.fdopen(descriptor, "rb") as pipe:
        for line in pipe:
            if not line.endswith(b"\n"):
                return
            on_event(json.loads(line))
