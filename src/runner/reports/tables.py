"""Columns of text, and numbers as people read them."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table that leaves out what does not fit."""

    title: str
    """What stands above it."""
    cells: Sequence[str]
    """One string for each row."""
    right: bool = False
    """Whether it is aligned to the right."""
    optional: bool = False
    """Whether it may be left out."""


def output_width() -> int | None:
    """Return how many characters a line of standard output holds; None if it is not a terminal, and lines have no end.

    ``COLUMNS`` counts more than the terminal's own width.
    """
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def shortened(name: str, width: int | None, *, plain: bool = False) -> str:
    """Leave out the middle of a name that is too long: names are told apart by their ends.

    Args:
        name: any text.
        width: the most characters; None: no limit.
        plain: whether only ASCII may be used.
    """
    if width is None or len(name) <= width:
        return name
    tail = (width - 1) // 2
    return name[: width - 1 - tail] + ("~" if plain else "…") + name[len(name) - tail :]


def fitting_table(columns: Sequence[Column], width: int | None) -> str:
    """Return a table of the columns that fit into `width`: all that must be there, then the optional ones in order.

    Args:
        columns: the columns; at least one, with equally many cells.
        width: characters of a line; None if everything fits.
    """
    left = (
        float("inf") if width is None else width + 2 - sum(_width(column) for column in columns if not column.optional)
    )
    shown = []
    for column in columns:
        if column.optional:
            if _width(column) > left:
                continue
            left -= _width(column)
        shown.append(column)
    rows = list(zip(*(column.cells for column in shown), strict=True))
    right = [index for index, column in enumerate(shown) if column.right]
    return text_table([column.title for column in shown], rows, right=right)


def _width(column: Column) -> int:
    return 2 + max(map(len, (column.title, *column.cells)))


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return a table with two spaces between columns and no line break at its end.

    Args:
        rows: each with one string for each column.
        right: the columns (counted from 0) that are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([line(headers), *map(line, rows)])


def duration(seconds: float | None) -> str:
    """Format a length of time in its two largest units: ``45s``, ``3m 20s``, ``2h 5m``, ``3d 4h``; ``-`` for None."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def number(value: object, digits: int = 4) -> str:
    """Format a number for people, a float with `digits` + 1 digits at most; ``-`` for None."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.{max(digits - 2, 1)}e}"
    whole_digits = len(str(int(abs(value))))
    return f"{value:.{max(digits + 1 - whole_digits, 0)}f}"


def size(count: int) -> str:
    """Format a number of bytes: ``512 B``, ``3.4 MiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
