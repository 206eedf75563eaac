"""How many rows of an entry are left out, why, and where the first of them is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class DroppedRows:
    """The rows of one entry that are left out, counted by reason."""

    where: str
    """The entry (``data.train.0``)."""
    word: str = "row"
    """What numbers of rows count: rows, or lines of a file."""
    file: str | None = None
    """The file that the first of them is in; None if it needs no saying."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rows by the reason why they cannot be used."""
    first: dict[str, int] = field(default_factory=dict)
    """The number of the first row with each reason, counted from 1."""

    @property
    def total(self) -> int:
        """How many they are."""
        return sum(self.counts.values())

    def add(self, reason: str, number: int) -> None:
        """Count a row."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first[reason] = min(number, self.first.get(reason, number))

    def reasons(self) -> str:
        """Return the reasons with their counts, the most frequent first, and where the first of these rows is."""
        by_count = sorted(self.counts.items(), key=lambda item: -item[1])
        place = f"{self.word} {min(self.first.values())}" + (f" of {self.file}" if self.file else "")
        return ", ".join(f"{count} {reason}" for reason, count in by_count) + f"; the first: {place}"

    def sentence(self, rows: int) -> str:
        """Return a sentence for the log and for the launch's summary.

        Args:
            rows: how many the entry has, these included.
        """
        return f"{self.where}: dropped {self.total} of {rows} rows ({self.reasons()})."

    def records(self, rows: int) -> list[Mapping[str, Any]]:
        """Return a record for each reason, as ``result.json`` has them."""
        return [
            {"entry": self.where, "reason": _printable(reason), "rows": count, "of": rows, "first": self.first[reason]}
            for reason, count in self.counts.items()
        ]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
