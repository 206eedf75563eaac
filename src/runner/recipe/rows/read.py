"""Read the rows of a local data file as they are written in it, whatever kind it is of."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from runner.errors import UserError
from runner.recipe.rows.columns import Column, by_column
from runner.recipe.rows.json_cells import read_json_cells
from runner.recipe.rows.json_rows import read_json_rows
from runner.recipe.rows.json_text import is_array
from runner.recipe.rows.text_rows import read_text_rows

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
"""Endings of the files whose rows are read here. Parquet has types of its own, and is read by the training side."""

_LINES = (".jsonl", ".ndjson")
_BATCH_ROWS = 1000


def read_rows(path: Path, *, where: str, suffix: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row of a file with its number, counted from 1, in bounded memory.

    A cell of CSV is text. One of JSON is what `json.loads` makes of it, except that a number with a point or an
    exponent is a `WrittenFloat`. Rows begin to be read when the first is asked for, and errors are raised where they
    are met.

    Args:
        path: the file.
        where: the file's name, for errors.
        suffix: one of `SUFFIXES`; by default the path's. Any other is read as JSON.

    Returns:
        The number is that of the line in which the row begins, or of the row in a JSON array: see `row_word`.

    Raises:
        UserError: the file cannot be read, is not UTF-8 text, or a row is broken.
    """
    suffix = (suffix or path.suffix).lower()
    try:
        match suffix:
            case ".csv" | ".tsv":
                from runner.recipe.rows.csv_rows import read_csv_rows  # not above: most recipes have no CSV file

                yield from read_csv_rows(path, where, separator=None if suffix == ".csv" else "\t")
            case ".txt":
                yield from read_text_rows(path, where)
            case _:
                yield from read_json_rows(path, where, only_lines=suffix in _LINES)
    except OSError as error:
        raise _unreadable(error, where) from error


def read_columns(path: Path, *, where: str, suffix: str | None = None) -> Iterator[dict[str, Column]]:
    """Yield the rows of `read_rows` in batches, by column, which is quicker and keeps all numbers as they are written.

    Raises:
        UserError: as `read_rows`.
    """
    suffix = (suffix or path.suffix).lower()
    if suffix in (".csv", ".tsv", ".txt"):
        rows = (row for _, row in read_rows(path, where=where, suffix=suffix))
        while batch := list(itertools.islice(rows, _BATCH_ROWS)):
            yield by_column(batch) or {}
        return
    try:
        yield from read_json_cells(path, where, only_lines=suffix in _LINES)
    except OSError as error:
        raise _unreadable(error, where) from error


def row_word(path: Path, *, where: str) -> Literal["line", "row"]:
    """Return what the numbers of a file's rows count.

    Raises:
        UserError: the file cannot be read.
    """
    if path.suffix.lower() not in (*_LINES, ".json"):
        return "line"
    try:
        return "row" if is_array(path, where) else "line"
    except OSError as error:
        raise _unreadable(error, where) from error


def _unreadable(error: OSError, where: str) -> UserError:
    return UserError(f"the file cannot be read: {error.strerror or error}", where=where)
