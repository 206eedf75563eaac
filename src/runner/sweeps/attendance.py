"""How long workers have been there, and what that cost: kept as they come and go, so that asking costs nothing.

Each decision asks for the budget, and a sweep on spot machines has thousands of workers in its life.
"""

import bisect
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_HOUR = 3600.0


class Attendance:
    """Who is there since when, and the sums over those who have left."""

    def __init__(self) -> None:
        self._dollars = 0.0
        self._seconds = 0.0
        self._spans: list[tuple[datetime, datetime]] = []
        """When there was a worker that has left since: in order, without overlap."""
        self._there: dict[str, tuple[datetime, float]] = {}
        self._joined: list[tuple[datetime, str]] = []
        self._rates = 0.0
        self._first: datetime | None = None
        self._offset = 0.0
        self._priced_offset = 0.0

    def join(self, worker: str, at: datetime, dollars_per_hour: float) -> None:
        """A worker has come. It must not be there already."""
        self._first = self._first or at
        self._there[worker] = at, dollars_per_hour
        bisect.insort(self._joined, (at, worker))
        since = (at - self._first).total_seconds()
        self._rates += dollars_per_hour
        self._offset += since
        self._priced_offset += since * dollars_per_hour

    def leave(self, worker: str, at: datetime) -> None:
        """A worker that is there has gone; `at` is not before it came."""
        assert self._first is not None
        joined, rate = self._there.pop(worker)
        del self._joined[bisect.bisect_left(self._joined, (joined, worker))]
        since = (joined - self._first).total_seconds()
        self._rates -= rate
        self._offset -= since
        self._priced_offset -= since * rate
        if not self._there:  # what rounding has left
            self._rates = self._offset = self._priced_offset = 0.0
        seconds = (at - joined).total_seconds()
        self._seconds += seconds
        self._dollars += seconds / _HOUR * rate
        self._add_span(joined, at)

    def dollars(self, now: datetime) -> float:
        """US dollars for all hours of all workers."""
        return self._dollars + max(0.0, self._since_first(now) * self._rates - self._priced_offset) / _HOUR

    def machine_hours(self, now: datetime) -> float:
        """Hours of all workers together."""
        there = max(0.0, self._since_first(now) * len(self._there) - self._offset)
        return (self._seconds + there) / _HOUR

    def hours(self, now: datetime) -> float:
        """Hours of the clock in which there was a worker."""
        total = sum((end - start).total_seconds() for start, end in self._spans)
        if self._joined and self._joined[0][0] < now:
            since = self._joined[0][0]
            total += (now - since).total_seconds()
            for start, end in reversed(self._spans):
                if end <= since:
                    break
                total -= max(0.0, (min(end, now) - max(start, since)).total_seconds())
        return total / _HOUR

    def to_mapping(self) -> dict[str, Any]:
        """What is known of those who have left, in JSON."""
        spans = [[start.isoformat(), end.isoformat()] for start, end in self._spans]
        return {"dollars": self._dollars, "seconds": self._seconds, "spans": spans}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Attendance":
        """Restore what `to_mapping` returned; who is there has to `join` again.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        restored = cls()
        restored._dollars, restored._seconds = float(mapping["dollars"]), float(mapping["seconds"])
        restored._spans = [
            (datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in mapping["spans"]
        ]
        return restored

    def _since_first(self, now: datetime) -> float:
        return 0.0 if self._first is None else (now - self._first).total_seconds()

    def _add_span(self, start: datetime, end: datetime) -> None:
        first = bisect.bisect_left(self._spans, start, key=lambda span: span[1])
        last = first
        while last < len(self._spans) and self._spans[last][0] <= end:
            start, end = min(start, self._spans[last][0]), max(end, self._spans[last][1])
            last += 1
        self._spans[first:last] = [(start, end)]
