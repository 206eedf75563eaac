"""The rows of a JSON file, column by column and quickly: text as text, anything else as the JSON that is written there.

The training side keeps a large file this way. Nothing is lost: ``1.50`` stays ``1.50``, and a missing key inside a
nested value stays missing.
"""

import json
from collections.abc import Callable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # the function that `json` itself reads text with
from pathlib import Path
from typing import Any, TypeAlias

from runner.recipe.rows.columns import Cell, Column, JsonText, by_column
from runner.recipe.rows.json_rows import parse_row
from runner.recipe.rows.json_text import Lines, check_characters, has_half, json_parts, skip_blank
from runner.recipe.rows.text import Span

BATCH_ROWS = 1000
"""Rows of an array that are returned at a time; lines come by the piece of the file that they are in."""
BATCH_CHARACTERS = 1 << 20
"""Or so many characters of it."""


_Scan: TypeAlias = Callable[[str, int], tuple[Any, int]]
# What `JSONDecoder.decode` calls, without its search for blanks on both sides of each value.
_scan: _Scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_scan_numbers_as_text: _Scan = json.JSONDecoder(parse_float=JsonText).scan_once  # type: ignore[attr-defined]


def read_json_cells(
    path: Path, where: str, *, only_lines: bool, span: Span | None = None
) -> Iterator[dict[str, Column]]:
    """Yield the rows of a file, or of a part of it, in batches, by column.

    Raises:
        UserError: a row is not JSON, or not an object.
        OSError: the file cannot be read.
    """
    nested = False
    for batch in _batches(json_parts(path, where, cells_at, only_lines=only_lines, span=span)):
        columns = None
        if isinstance(batch, Lines):
            columns = None if nested else _columns_of_flat_lines(batch)
            nested = columns is None
        yield columns or by_column(_cells_of_lines(batch, where) if isinstance(batch, Lines) else batch) or {}


def _batches(parts: Iterator[Lines | tuple[int, dict[str, Cell]]]) -> Iterator[Lines | list[dict[str, Cell]]]:
    """Put single rows together; lines come together already."""
    rows: list[dict[str, Cell]] = []
    size = 0
    for part in parts:
        if isinstance(part, Lines):
            yield part
            continue
        rows.append(part[1])
        size += sum(map(len, filter(None, part[1].values())))
        if len(rows) == BATCH_ROWS or size > BATCH_CHARACTERS:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def cells_at(text: str, at: int) -> tuple[dict[str, Cell], int]:
    """Return the cells of the object that begins at an index, and the index of its end.

    Raises:
        ValueError: it is not JSON, in the words of `json`.
        RecursionError: it is nested too deeply.
    """
    cells: dict[str, Cell] = {}
    at = skip_blank(text, at + 1)
    if text[at : at + 1] == "}":
        return cells, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, at = scanstring(text, at + 1, True)
        if text[at : at + 1] != ":":
            at = skip_blank(text, at)
            if text[at : at + 1] != ":":
                raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        at += 1
        if text[at : at + 1] == " ":
            at += 1
        if text[at : at + 1] in " \t\n":
            at = skip_blank(text, at)
        try:
            value, end = _scan(text, at)
        except StopIteration as error:
            raise json.JSONDecodeError("Expecting value", text, error.value) from None
        cells[key] = value if value is None or type(value) is str else JsonText(text[at:end])
        at = end
        sign = text[at : at + 1]
        if sign not in (",", "}"):
            at = skip_blank(text, at)
            sign = text[at : at + 1]
        if sign == "}":
            return cells, at + 1
        if sign != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at += 1
        if text[at : at + 1] == " ":
            at += 1
        if text[at : at + 1] != '"':
            at = skip_blank(text, at)


def _cells_of_lines(lines: Lines, where: str) -> list[dict[str, Cell]]:
    """Return the cells of each line."""
    rows = []
    may_have_halves = has_half(lines.text)
    for number, line in enumerate(lines.text.split("\n"), lines.number):
        if not line or line.isspace():
            continue
        try:
            cells, end = cells_at(line, 0) if line[0] == "{" else ({}, 0)
        except (ValueError, RecursionError):
            end = 0
        if end != len(line):
            parse_row(line, f"line {number}", where)  # which says what is wrong, unless only blanks are around the row
            cells, _ = cells_at(line, skip_blank(line, 0))
        if may_have_halves:
            check_characters(line, f"line {number}", where)
        rows.append(cells)
    return rows


def _columns_of_flat_lines(lines: Lines) -> dict[str, Column] | None:
    """Return the columns of lines that hold nothing nested, which takes half the time; None for any other lines."""
    if has_half(lines.text):
        return None
    rows: list[dict[str, Any]] = []
    for line in lines.text.split("\n"):
        if not line:
            continue
        try:
            row, end = _scan_numbers_as_text(line, 0)
        except (ValueError, RecursionError, StopIteration):
            return None
        if end != len(line) or type(row) is not dict:
            return None
        rows.append(row)
    return by_column(rows)
