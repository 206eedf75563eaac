"""Decide whether training hangs, from what its first process reports and what the operating system counts.

Ending a healthy run costs more than a hang does, so there are three limits, all multiples of one setting:

- In training, once the pace is known (`_KNOWN_STEPS` steps): no micro-batch, evaluation batch or step for the timeout,
  for `median_steps` times the median step, and for twice the longest (GRPO generates in one step of several, which the
  median does not see; the first step counts, with all that it compiles). A processor that is at work proves nothing
  there: NCCL waits for a lost process, and CUDA for a kernel, in a loop.
- Before that (a first step compiles kernels, a reward's judge may take minutes for a batch) and in every other phase:
  `_UNKNOWN` times the timeout while the processes do nothing at all.
- There, with a processor at work: `_BUSY` times the timeout.

Bytes read or written, in any phase, are progress: downloads, tokenized data sets, exports, the upload of a checkpoint
that training waits for. A stopped process (SIGSTOP) gets the timeout only, whatever it was doing.

Nothing here reads a clock or a process; `look` is told what there is.
"""

import statistics
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.recipe.recipe import Watchdog as WatchdogSettings

_KNOWN_STEPS = 3
_LONGEST = 2.0
_UNKNOWN = 3.0
_BUSY = 12.0
_LONGEST_GAP_SECONDS = 10.0
_REMEMBERED_STEPS = 101


@dataclass(frozen=True, kw_only=True)
class Hang:
    """That nothing goes on any more."""

    seconds: float
    """For how long."""
    limit_seconds: float
    """For how long that is all right."""
    phase: str
    """What the attempt was doing."""
    step: int | None
    """The last step that was taken; None: none was."""
    detail: str | None
    """What of the phase, in the attempt's own words."""

    def describe(self) -> str:
        """Say what does not happen, and since when."""
        if self.phase == "training":
            after = f"after step {self.step}" if self.step else "in the first step"
            return f"no step for {in_words(self.seconds)}, {after}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"no progress for {in_words(self.seconds)} while {self.phase}{detail}"


def in_words(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``12 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Watchdog:
    """Knows when the training of one attempt last got further.

    `note` may be called from any thread; `look` by one.

    Args:
        settings: the recipe's `watchdog`.
    """

    def __init__(self, settings: WatchdogSettings) -> None:
        self._timeout = settings.timeout_seconds or None
        self._median_steps = settings.median_steps
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._watched = 0.0
        """Seconds watched so far. Not the clock's: a suspended machine must not count as a hang."""
        self._progress_at = 0.0
        self._busy_at = 0.0
        self._progressed = False
        self._phase = "starting"
        self._detail: str | None = None
        self._step: int | None = None
        self._step_at: float | None = None
        self._step_seconds: deque[float] = deque(maxlen=_REMEMBERED_STEPS)
        self._began: float | None = None
        self._longest_seconds = 0.0
        self._stopped = False

    def note(self, progress: Mapping[str, Any], *, now: float) -> None:
        """Take in what the first training process reports. Whatever it is, training got further.

        Args:
            progress: the fields of a ``progress`` event; empty: a batch is done.
            now: when, by a clock that only goes forward.
        """
        with self._lock:
            self._progressed = True
            phase = progress.get("phase")
            if phase is not None:
                if phase != self._phase:
                    self._step_at = None
                    self._began = now if phase == "training" else None
                self._phase, self._detail = str(phase), progress.get("message")
            if "stage" in progress:
                # Another stage: another model, and steps of another length.
                self._step, self._step_at = None, None
                self._step_seconds.clear()
                self._longest_seconds = 0.0
            step = progress.get("step")
            if isinstance(step, int):
                since = self._began if self._step_at is None else self._step_at
                if since is not None:
                    self._longest_seconds = max(self._longest_seconds, now - since)
                if self._step is not None and self._step_at is not None and step > self._step:
                    steps = step - self._step  # a report may be of several
                    self._step_seconds.extend([(now - self._step_at) / steps] * min(steps, _KNOWN_STEPS))
                self._step, self._step_at = step, now

    def look(self, *, now: float, read_bytes: bool = False, busy: bool = False, stopped: bool = False) -> Hang | None:
        """Find out whether training hangs now.

        Args:
            now: by the same clock as `note`'s.
            read_bytes: whether many bytes were read or written since the last look.
            busy: whether a processor was at work since the last look.
            stopped: whether a training process is stopped (SIGSTOP).
        """
        with self._lock:
            before = now if self._looked_at is None else self._looked_at
            self._looked_at = now
            self._watched += min(max(0.0, now - before), _LONGEST_GAP_SECONDS)
            self._stopped = stopped
            if self._progressed or read_bytes:
                self._progress_at, self._progressed = self._watched, False
            if busy:
                self._busy_at = self._watched
            limit = self.limit_seconds
            if limit is None or self.idle_seconds <= limit:
                return None
            return Hang(
                seconds=self.idle_seconds,
                limit_seconds=limit,
                phase=self._phase,
                step=self._step,
                detail=self._detail,
            )

    @property
    def idle_seconds(self) -> float:
        """How long there has been no progress, as of the last look."""
        return self._watched - self._progress_at

    @property
    def limit_seconds(self) -> float | None:
        """How long there may be none, as things are now; None: for ever."""
        if self._timeout is None:
            return None
        if self._stopped:
            return self._timeout
        if self._phase == "training" and len(self._step_seconds) >= _KNOWN_STEPS:
            median = statistics.median(self._step_seconds)
            return max(self._timeout, self._median_steps * median, _LONGEST * self._longest_seconds)
        was_busy = self._busy_at > self._progress_at and self._watched - self._busy_at < self._timeout
        return (_BUSY if was_busy else _UNKNOWN) * self._timeout

    def warning(self) -> str | None:
        """Say that at least half of the time has passed in which there may be no progress; None: it has not."""
        limit = self.limit_seconds
        if limit is None or self.idle_seconds < limit / 2:
            return None
        with self._lock:
            hang = Hang(
                seconds=self.idle_seconds,
                limit_seconds=limit,
                phase=self._phase,
                step=self._step,
                detail=self._detail,
            )
        return f"{hang.describe()}; after {in_words(limit)} the attempt is ended and tried again"
