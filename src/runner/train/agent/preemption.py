"""SIGTERM: checkpoint at the next step boundary, then leave with exit code 75.

Inside the training loop the handler only notes the signal. Anywhere else (loading, evaluating, exporting) a new attempt
can do everything again, so the handler ends the attempt at once by raising `Preempted`.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from runner.errors import causes

FINISH_SIGNAL = signal.SIGUSR2
"""Asks a training process to end its training at the next step boundary, as if it had taken its last step."""

STOP_SIGNAL = signal.SIGUSR1
"""Asks an agent to end its attempt with a checkpoint, as SIGTERM does; a sweep's worker that makes it goes on."""


class Preempted(BaseException):
    """The machine is going away. Not an `Exception`: no handler on the way may swallow it."""


class Paused(Preempted):
    """The training is at the step that it was to pause at, and its checkpoint is in the store.

    Args:
        step: the step.
    """

    def __init__(self, step: int) -> None:
        super().__init__(paused_at(step))


def paused_at(step: int) -> str:
    """Say where a training pauses, and who asked for it."""
    return f"paused at step {step}, as its sweep asked"


class CannotResumeHere(Exception):
    """The checkpoint needs as many processes as wrote it, or the rows that it was trained on, and they are not here."""


class NotDurable(Exception):
    """No checkpoint reaches the store any more; the newest is on this machine's disk.

    Args:
        message: says for how long, why, and where the checkpoint is.
        retry: whether another attempt may get further without anybody's help.
    """

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class PreemptionNotice:
    """Whether SIGTERM (or SIGINT) has arrived."""

    def __init__(self) -> None:
        self.given = False
        self.finish = False
        """Whether the owner has asked that training ends at the next step boundary and keeps the model that it has."""
        self._at_boundaries_only = False

    def install(self) -> None:
        """Install the handlers. Must be called in the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(FINISH_SIGNAL, self._on_finish)

    @contextmanager
    def noted_at_step_boundaries(self) -> Iterator[None]:
        """Within, a signal is only noted in `given`, which the training loop reads after each step."""
        if self.given:
            raise Preempted
        self._at_boundaries_only = True
        try:
            yield
        finally:
            self._at_boundaries_only = False

    def _on_finish(self, number: int, frame: FrameType | None) -> None:
        self.finish = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first = not self.given
        self.given = True
        if first and not self._at_boundaries_only:
            raise Preempted


def is_eviction(error: BaseException | None, work_dir: Path) -> bool:
    """Return whether `error` was caused by the scheduler (or a user) removing our files.

    Args:
        error: what was raised.
        work_dir: the run's folder on this machine.
    """
    if not all(path.exists() for path in (work_dir, Path(__file__), Path(sys.executable))):
        return True
    # No code opens a file below `work_dir` that it does not expect to exist, so a missing one was removed.
    return any(
        isinstance(cause, FileNotFoundError) and Path(str(cause.filename)).is_relative_to(work_dir)
        for cause in causes(error)
    )
