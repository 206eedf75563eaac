"""Cut cells out of lines of JSON as they are written, without parsing them once more.

What makes it exact: in valid JSON, the bytes ``"name":`` are the key `name`, whose quotes are not escaped, or the end
of a longer key that holds a quote. If no key holds a quote or a backslash, no nested key is named as a column is, and
no object has a key twice, then each column's key is found once in a line, wherever texts may say the same.
"""

import json
import re
from collections.abc import Iterator, Sequence

import pyarrow

_DEEPEST = 50
"""Levels of lists and objects; Python's parser may refuse what is nested deeper."""
_LONGEST_NUMBER = 4000
"""Digits; Python refuses to convert whole numbers that are a little longer."""
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _LONGEST_NUMBER)
_NOT_A_NUMBER = re.compile(rb"(?:Inf|Infinity|NaN)[ \t]*(?:[],}]|$)")
"""What pyarrow's parser takes for a number, and Python's in part; also in a text, which does no harm."""
_PLAIN_KEY = re.compile(r"[^\"\\\x00-\x1f]*")


class NotSure(Exception):  # the exact reader decides; nothing need be wrong
    """The cells might differ from what the exact reader gives."""


def json_columns(
    data: bytes, count: int, names: Sequence[str], fields: Sequence[pyarrow.Field]
) -> tuple[list[str], dict[str, pyarrow.Array]]:
    """Return the keys of the first line in their order, and the cells of some columns in JSON.

    Args:
        data: lines that pyarrow has parsed, each of them an object; UTF-8.
        count: how many lines.
        names: all columns that pyarrow found.
        fields: the columns to cut out, with the types that pyarrow found in them; none holds text.

    Raises:
        NotSure: a line has other keys than the first, or another order; or one of the rules above may be broken.
    """
    keys = list(json.loads(data[: data.find(b"\n")] if count > 1 else data))
    if not fields:
        return keys, {}
    nested = [name for field in fields for name in _nested_keys(field.type)]
    if not all(map(_PLAIN_KEY.fullmatch, [*names, *nested])) or not set(nested).isdisjoint(names):
        raise NotSure
    places = {keys.index(field.name): field for field in fields if field.name in keys}
    if len(places) < len(fields):
        raise NotSure
    cut = [_cut_only(data, count, keys[0])] if len(keys) == 1 else _cut(data.split(b"\n"), keys, sorted(places))
    arrays = {}
    for (_, field), cells in zip(sorted(places.items()), cut, strict=True):
        _check_numbers(field.type, cells)
        arrays[field.name] = pyarrow.array(cells, pyarrow.binary()).view(pyarrow.string())
    return keys, arrays


def _cut_only(data: bytes, count: int, key: str) -> list[bytes | None]:
    """Return the cells of lines with one key."""
    opening = f'{{"{key}":'.encode()
    if data.startswith(opening + b" "):
        opening += b" "
    cells = data[len(opening) : -1].split(b"}\n" + opening)
    if not data.startswith(opening) or len(cells) != count:
        raise NotSure
    return [None if cell.strip() == b"null" else cell for cell in cells]


def _cut(lines: list[bytes], keys: list[str], places: list[int]) -> list[list[bytes | None]]:
    """Return the cells at some places of each line."""
    marks = [f'"{key}":'.encode() for key in keys]
    last = len(marks) - 1
    cut: list[list[bytes | None]] = [[] for _ in places]
    wanted = [(cut[places.index(place)] if place in places else None) for place in range(len(marks))]
    opening = b"{" + marks[0]
    for line in lines:
        if not line.startswith(opening):
            raise NotSure
        start = len(opening)
        for place in range(last):
            end = line.find(marks[place + 1], start)
            if end < 0:
                raise NotSure
            cells = wanted[place]
            if cells is not None:
                cell = line[start:end].strip()[:-1].strip()
                cells.append(None if cell == b"null" else cell)
            start = end + len(marks[place + 1])
        cells = wanted[last]
        if cells is not None:
            cell = line[start:-1].strip()
            cells.append(None if cell == b"null" else cell)
    return cut


def _nested_keys(kind: pyarrow.DataType, depth: int = 0) -> Iterator[str]:
    if depth > _DEEPEST:
        raise NotSure
    for number in range(kind.num_fields):
        field = kind.field(number)
        if pyarrow.types.is_struct(kind):
            yield field.name
        yield from _nested_keys(field.type, depth + 1)


def _check_numbers(kind: pyarrow.DataType, cells: list[bytes | None]) -> None:
    if not _has_numbers(kind):
        return
    for cell in cells:
        if cell is None:
            continue
        if (len(cell) >= _LONGEST_NUMBER and _LONG_NUMBER.search(cell)) or _NOT_A_NUMBER.search(cell):
            raise NotSure


def _has_numbers(kind: pyarrow.DataType) -> bool:
    if kind.num_fields:
        return any(_has_numbers(kind.field(number).type) for number in range(kind.num_fields))
    return bool(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind))
