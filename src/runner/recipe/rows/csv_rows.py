"""The rows of a CSV file. Each cell is the text between its commas, an empty one too; no type is guessed."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.recipe.rows.text import MAX_ROW, read_text, too_long

_OTHER_SEPARATORS = (";", "\t", "|")

_NAMES = {";": "a semicolon", "\t": "a tab", "|": "a bar"}


def read_csv_rows(path: Path, where: str, *, separator: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row with the number of the line that it begins in. A row with fewer cells than the header has nulls.

    Args:
        path: the file.
        where: its name, for errors.
        separator: what stands between cells; None: a comma, or what the header has in its place.

    Raises:
        UserError: a row has more cells than the header or a quote that is never closed, or the header cannot be used.
        OSError: the file cannot be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW))  # 128 KiB otherwise, which a document exceeds
    separator = separator or _separator(path, where)
    lines = _lines(path, where)
    # Strict: a quote inside a quoted cell would be lost, and one that is never closed would take in the rest.
    rows = csv.reader(lines, strict=True, delimiter=separator)
    header: list[str] | None = None
    while True:
        number = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise _not_csv(error, number, rows.line_num, where) from error
        if header is None:
            if cells:
                header = _header(cells, number, where)
            continue
        missing = len(header) - len(cells)
        if missing:
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue  # a blank line
            if missing < 0 and any(cells[missing:]):
                raise UserError(
                    f"line {number} has {len(cells)} cells, and the header {len(header)}",
                    where=where,
                    remedy=f'put a cell that holds {_NAMES.get(separator, "a comma")} in quotes: "a{separator} b"',
                )
            cells = cells[:missing] if missing < 0 else [*cells, *[None] * missing]  # type: ignore[list-item]
        yield number, dict(zip(header, cells, strict=True))


def _lines(path: Path, where: str) -> Iterator[str]:
    r"""Yield lines with their ends, which are ``\n``, ``\r\n`` or ``\r``."""
    begun = ""
    for piece in read_text(path, where, keep_line_ends=True):
        lines = io.StringIO(begun + piece, newline="").readlines()
        begun = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        yield from lines
        if len(begun) > MAX_ROW:
            raise too_long("a line", where)
    if begun:
        yield begun


def _separator(path: Path, where: str) -> str:
    """Return what the header's columns are separated by: a comma, unless commas make one column of it."""
    for line in _lines(path, where):
        if line.strip():
            cells = next(csv.reader([line]), [])
            signs = [sign for sign in _OTHER_SEPARATORS if sign in cells[0]] if len(cells) == 1 else []
            return max(signs, key=cells[0].count) if signs else ","
    return ","


def _header(cells: list[str], number: int, where: str) -> list[str]:
    # As pandas names a column without a name, which its index has.
    names = [cell if cell.strip() else f"Unnamed: {place}" for place, cell in enumerate(cells)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(
            f"the header (line {number}) names `{twice[0]}` twice", where=where, remedy="give each column its own name"
        )
    return names


def _not_csv(error: csv.Error, first: int, last: int, where: str) -> UserError:
    if "expected after" in str(error):
        return UserError(
            f"line {last} is not CSV: text follows the quote that closes a cell",
            where=where,
            remedy='write a quote inside a cell twice: "a ""b"" c"',
        )
    if "end of data" in str(error) or "field limit" in str(error):
        return UserError(
            f"line {first} is not CSV: a quote that opens a cell there is never closed",
            where=where,
            remedy='write a quote inside a cell twice: "a ""b"" c"',
        )
    return UserError(f"line {first} is not CSV: {error}", where=where)
