"""Where each row of a mixture comes from, for messages that name it as its file does."""

import itertools
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from runner.recipe.rows.read import SUFFIXES, read_rows, row_word

_NUMBER = "runner_row_number"


@dataclass(frozen=True, kw_only=True)
class RowNumbers:
    """The numbers of an entry's rows in its source."""

    path: str
    """The source, as the recipe names it."""
    file: Callable[[], Path | None]
    """Returns its file on this machine; None for a folder, or data of the hub."""
    select: Callable[[], Dataset]
    """Selects the entry's rows again, with the number of each in the column `_NUMBER`."""

    def place(self, index: int) -> tuple[str, int]:
        """Return the number of a selected row, counted from 1, and what it counts: rows, or lines of a file."""
        position = int(self.select()[index][_NUMBER])
        file = self.file()
        if file is None or file.suffix.lower() not in SUFFIXES:
            return "row", position + 1
        rows = itertools.islice(read_rows(file, where=self.path), position, None)
        return row_word(file, where=self.path), next(number for number, _ in rows)


def numbered(dataset: Dataset) -> Dataset:
    """Return rows with their place, counted from 0, in a column of its own."""
    return dataset.add_column(_NUMBER, list(range(len(dataset))))


class Origins:
    """For each row of a mixture, its entry and its place among the entry's selected rows."""

    def __init__(self, entries: Sequence[tuple[str, RowNumbers]], of_entry: "array[int]", index: "array[int]") -> None:
        self._entries = entries
        self._of_entry = of_entry
        self._index = index

    def select(self, positions: Sequence[int]) -> "Origins":
        """Return the origins of the rows at these positions."""
        return Origins(
            self._entries,
            array("L", (self._of_entry[position] for position in positions)),
            array("L", (self._index[position] for position in positions)),
        )

    def count(self, entry: str) -> int:
        """Return how many rows come from an entry."""
        numbers = {number for number, (where, _) in enumerate(self._entries) if where == entry}
        return sum(number in numbers for number in self._of_entry)

    def entry(self, position: int) -> str:
        """Return the entry (``data.train.0``) that a row comes from."""
        return self._entries[self._of_entry[position]][0]

    def place(self, position: int) -> tuple[str, int]:
        """Return what the number of a row counts, and the number, as in its source."""
        return self._entries[self._of_entry[position]][1].place(self._index[position])

    def __len__(self) -> int:
        return len(self._index)


NO_ORIGINS = Origins((), array("L"), array("L"))
"""Those of no rows."""
