"""Whether training processes are at work: their processor time and bytes, as the operating system counts them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

_BUSY_SHARE = 0.05
"""Of one processor. Threads that wait (NCCL's monitor, the metrics' flush, a tracker's pulse) take less than half."""
_MANY_BYTES = 4 << 20
"""More than logs and trackers write in the time that a hang takes to be noticed."""
_EVERY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What went on since the last look."""

    busy: bool
    """Whether one of the processes, with its children, has used a processor."""
    many_bytes: bool
    """Whether they have read or written much."""
    stopped: bool
    """Whether one of them is stopped (SIGSTOP)."""


class ActivityMeter:
    """Compares what processes have used with what they had used before.

    Args:
        pids: returns the processes to look at; their children count as part of them.
        every_seconds: looks that come sooner after the last one see the same.
    """

    def __init__(self, pids: Callable[[], Sequence[int]], *, every_seconds: float = _EVERY_SECONDS) -> None:
        self._pids = pids
        self._every_seconds = every_seconds
        self._measured_at = float("-inf")
        self._marks: dict[int, tuple[float, float]] = {}
        self._bytes_mark = 0
        self._count = 0

    @property
    def count(self) -> int:
        """How often something went on; it stays the same while nothing does."""
        return self._count

    def look(self) -> Activity:
        """Return what went on since the last look, and whether a process is stopped now."""
        now = time.monotonic()
        if now - self._measured_at < self._every_seconds:
            return Activity(busy=False, many_bytes=False, stopped=self._any_stopped())
        self._measured_at = now
        busy, total = False, 0
        for pid in self._pids():
            cpu, moved = _used(pid)
            total += moved
            at, before = self._marks.get(pid, (now, cpu))
            if pid not in self._marks or cpu - before >= max(_BUSY_SHARE * (now - at), 0.01):
                busy = busy or pid in self._marks
                self._marks[pid] = (now, cpu)
        # A child that has ended takes its count with it: what is less than before is a new beginning.
        many_bytes = total - self._bytes_mark >= _MANY_BYTES
        if many_bytes or total < self._bytes_mark:
            self._bytes_mark = total
        self._count += busy or many_bytes
        return Activity(busy=busy, many_bytes=many_bytes, stopped=self._any_stopped())

    def _any_stopped(self) -> bool:
        return any(state_of(pid) == psutil.STATUS_STOPPED for pid in self._pids())


def state_of(pid: int) -> str | None:
    """A process's state in psutil's word (``stopped``, ``disk-sleep``…); None if it has gone."""
    try:
        return str(psutil.Process(pid).status())
    except psutil.Error:
        return None


def _used(pid: int) -> tuple[float, int]:
    """Processor seconds and bytes of a process and all below it, those that have ended included."""
    seconds, moved = 0.0, 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return seconds, moved
    for process in processes:
        try:
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
            counters = process.io_counters() if hasattr(process, "io_counters") else None  # macOS has none
        except (psutil.Error, OSError):
            continue
        if counters is not None:
            # Of files that are mapped into memory (safetensors), only the disk's count grows.
            moved += counters.read_bytes + getattr(counters, "read_chars", 0)
            moved += counters.write_bytes + getattr(counters, "write_chars", 0)
    return seconds, moved
