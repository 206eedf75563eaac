"""The rows of a JSON file, as values."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.recipe.rows.json_text import Lines, check_characters, json_parts, not_an_object, not_json, skip_blank
from runner.recipe.rows.numbers import WrittenFloat

_decoder = json.JSONDecoder(parse_float=WrittenFloat)


def read_json_rows(path: Path, where: str, *, only_lines: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row with the number of its line; in an array, with its own number among the rows.

    Raises:
        UserError: a row is not JSON, or not an object.
        OSError: the file cannot be read.
    """
    for part in json_parts(path, where, _decoder.raw_decode, only_lines=only_lines):
        if not isinstance(part, Lines):
            yield part
            continue
        for number, line in enumerate(part.text.split("\n"), part.number):
            if line and not line.isspace():
                yield number, parse_row(line, f"line {number}", where)


def parse_row(line: str, place: str, where: str) -> dict[str, Any]:
    """Return the row that a line holds.

    Args:
        line: a JSON object.
        place: ``line 3``, for errors.
        where: the file, for errors.

    Raises:
        UserError: it is not JSON, or not an object.
    """
    try:
        row, end = _decoder.raw_decode(line, skip_blank(line, 0))
        end = skip_blank(line, end)
        if end != len(line):
            raise json.JSONDecodeError("Extra data", line, end)
    except (ValueError, RecursionError) as error:
        raise not_json(error, place, where) from error
    if not isinstance(row, dict):
        raise not_an_object(place, where)
    check_characters(line, place, where)
    return row
