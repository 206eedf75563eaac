"""The rows of data on this machine, as far as this machine can read them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.recipe.rows.read import SUFFIXES as TEXT_SUFFIXES
from runner.recipe.rows.read import read_rows, row_word

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt")
"""Endings of the files that runner reads data from."""

_PARQUET_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class LocalRow:
    """One row of a file."""

    file: Path
    """The file."""
    number: int
    """Its number, counted from 1; `word_of` says of what."""
    row: Mapping[str, Any]
    """Its cells, as they are written."""


def rows_of(files: list[Path]) -> Iterator[LocalRow]:
    """Yield the rows of files, one file after the other, in bounded memory.

    Raises:
        UserError: a file cannot be read, or a row is broken. Raised where it is met.
    """
    for file in files:
        rows = _parquet(file) if file.suffix.lower() == ".parquet" else read_rows(file, where=str(file))
        for number, row in rows:
            yield LocalRow(file=file, number=number, row=row)


def can_read(files: list[Path]) -> bool:
    """Whether this machine can read files: Parquet only where pyarrow is, which training needs and launching does not.

    Raises:
        UserError: a Parquet file is not complete.
    """
    parquet = [file for file in files if file.suffix.lower() == ".parquet"]
    for file in parquet:
        _check_parquet(file)
    return not parquet or find_spec("pyarrow") is not None


def word_of(file: Path) -> str:
    """Return what the numbers of a file's rows count: rows, or lines."""
    return row_word(file, where=str(file)) if file.suffix.lower() in TEXT_SUFFIXES else "row"


def structs_of(files: list[Path]) -> frozenset[str]:
    """Return the columns of Parquet files that hold structs, which have nulls for the keys of other rows."""
    names: set[str] = set()
    for file in files:
        if file.suffix.lower() == ".parquet":
            import pyarrow.parquet

            names |= {field.name for field in pyarrow.parquet.read_schema(file) if "struct<" in str(field.type)}
    return frozenset(names)


def _parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow.parquet  # not above: only Parquet needs it

    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            numbers = itertools.count(1)
            for batch in opened.iter_batches(batch_size=_PARQUET_BATCH):
                yield from zip(numbers, batch.to_pylist())  # noqa: B905 - the numbers have no end
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"the file cannot be read: {error}", where=str(file)) from error


def _check_parquet(path: Path) -> None:
    """Check the magic bytes at both ends."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            whole = path.stat().st_size >= 12 and file.seek(-4, 2) and head == b"PAR1" == file.read(4)
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from error
    if not whole:
        raise UserError("the file is not a complete Parquet file", where=str(path))
