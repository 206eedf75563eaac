"""SIGTERM: checkpoint at the next step boundary, then leave with exit code 75.

Between step boundaries of the training loop the handler only takes a note. Anywhere else (loading, evaluating,
exporting) there is nothing that a new attempt could not do again, so it leaves at once by raising `Preempted`.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from runner.errors import causes


class Preempted(BaseException):
    """The machine is going away. Not an `Exception`: nobody on the way may swallow it."""


class CannotResumeHere(Exception):
    """What the checkpoint needs is not here: as many processes as wrote it, or the rows that it was trained on."""


class PreemptionNotice:
    """Whether SIGTERM (or SIGINT) has arrived."""

    def __init__(self) -> None:
        self.given = False
        self._at_boundaries_only = False

    def install(self) -> None:
        """Listen. Must be called in the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    @contextmanager
    def noted_at_step_boundaries(self) -> Iterator[None]:
        """Within, a signal is only noted in `given`; the training loop looks there after each step."""
        if self.given:
            raise Preempted
        self._at_boundaries_only = True
        try:
            yield
        finally:
            self._at_boundaries_only = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first = not self.given
        self.given = True
        if first and not self._at_boundaries_only:
            raise Preempted


def is_eviction(error: BaseException | None, work_dir: Path) -> bool:
    """Whether `error` comes of what somebody has removed under us.

    Args:
        error: what was raised.
        work_dir: the run's folder on this machine.
    """
    if not all(path.exists() for path in (work_dir, Path(__file__), Path(sys.executable))):
        return True
    # Nothing here opens a file of the run that may be missing, so a missing one was removed.
    return any(
        isinstance(cause, FileNotFoundError) and Path(str(cause.filename)).is_relative_to(work_dir)
        for cause in causes(error)
    )
