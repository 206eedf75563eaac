"""Rows by column: text as text, any other value in JSON, so that a column has one type whatever its cells are."""

import json
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

from runner.recipe.rows.numbers import WrittenFloat


class Column(NamedTuple):
    """A column of some rows: texts, or other values in JSON."""

    is_json: bool
    """Whether each cell is JSON: ``1.50``, ``true``, ``[{"role": "user"}]``, and text in quotes."""
    cells: list[str | None]
    """None is null, or a cell that a row does not have."""


class JsonText(str):
    """A cell in JSON, where its column may hold text."""

    __slots__ = ()


Cell: TypeAlias = "str | JsonText | None"

_dumps = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Any) -> str:
    """Return a value in JSON; a number of a file as it is written there."""
    return str(value) if isinstance(value, JsonText | WrittenFloat) else _dumps(value)


def by_column(rows: list[dict[str, Any]]) -> dict[str, Column] | None:
    """Return rows by column; None if a cell is a list or a mapping, not `JsonText`."""
    names = list(rows[0]) if rows else []
    columns: dict[str, list[Any]] | None = None
    if sum(map(len, rows)) == len(names) * len(rows):
        try:
            columns = {name: list(map(itemgetter(name), rows)) for name in names}
        except KeyError:
            columns = None
    if columns is None:
        names = list(dict.fromkeys(chain.from_iterable(rows)))
        columns = {name: [row.get(name) for row in rows] for name in names}
    result = {}
    for name, cells in columns.items():
        types = set(map(type, cells))
        if types & {dict, list}:
            return None
        result[name] = _column(cells, types)
    return result


def _column(cells: list[Any], types: set[type]) -> Column:
    if types <= {str, NoneType}:
        return Column(False, cells)
    if types <= {JsonText, NoneType}:
        return Column(True, cells)
    if types == {int}:
        return Column(True, list(map(repr, cells)))
    if types == {bool}:
        return Column(True, ["true" if cell else "false" for cell in cells])
    return Column(True, [cell if cell is None or type(cell) is JsonText else _dumps(cell) for cell in cells])
