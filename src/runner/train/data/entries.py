"""One entry of a recipe's data section, read and recognized."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from runner.recipe.formats.entries import Entry, EntryNeedsPairs, recognize_entry
from runner.recipe.formats.reading import Reading
from runner.recipe.recipe import DataSource, Method
from runner.train.data.origins import RowNumbers, numbered
from runner.train.data.sampling import select_rows
from runner.train.data.sources import read_source


@dataclass(frozen=True, kw_only=True)
class EntryRows:
    """One entry of a data section, read and recognized."""

    entry: Entry
    """Its format, and how its rows are converted."""
    dataset: Dataset
    """Its selected rows, as read."""
    numbers: RowNumbers
    """Their numbers in the source."""

    @property
    def structs(self) -> frozenset[str]:
        """The columns that hold Arrow's structs, with nulls for the keys of other rows."""
        return frozenset(name for name, feature in self.dataset.features.items() if _has_struct(feature))

    def as_pairs(self, need: EntryNeedsPairs) -> "EntryRows":
        """Return the entry with its rows as pairs of messages."""
        return replace(self, entry=replace(self.entry, needs_pairs=need.need))


def read_entry(
    source: DataSource,
    where: str,
    *,
    inputs: Callable[[str], Path],
    seed: int,
    text_field: str,
    method: Method,
    reading: Reading,
    notes: list[str],
) -> EntryRows:
    """Read an entry, select its rows and recognize their format.

    Args:
        source: the entry.
        where: its place in the recipe.
        inputs: returns the local copy of a file that was uploaded with the recipe.
        seed: the run's.
        text_field: the name of the column of plain text.
        method: the training method.
        reading: what decides where a format leaves it open.
        notes: gets sentences for the log.

    Raises:
        UserError: the rows cannot be read, or fit no format.
    """
    dataset = read_source(source, where=where, inputs=inputs, notes=notes)
    rows = select_rows(dataset, source, where, seed, notes)
    entry = recognize_entry(
        source,
        where,
        columns=rows.column_names,
        rows=rows,
        text_field=text_field,
        method=method,
        reading=reading,
    )
    numbers = RowNumbers(
        path=source.path.rpartition("/")[2] if source.path.startswith("inputs/") else source.path,
        file=lambda: _file(source, inputs),
        select=lambda: select_rows(numbered(dataset), source, where, seed, []),
    )
    return EntryRows(entry=entry, dataset=rows, numbers=numbers)


def _file(source: DataSource, inputs: Callable[[str], Path]) -> Path | None:
    if source.path.startswith("inputs/"):
        return inputs(source.path)
    path = Path(source.path)
    return path if path.is_absolute() and path.is_file() else None


def _has_struct(feature: Any) -> bool:
    if isinstance(feature, dict):
        return True
    if isinstance(feature, list):
        return any(map(_has_struct, feature))
    inner = getattr(feature, "feature", None)
    return inner is not None and _has_struct(inner)
