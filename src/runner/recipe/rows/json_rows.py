"""The rows of JSON Lines, of a JSON array, and of JSON objects one after the other, whatever the file's ending."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.recipe.rows.numbers import WrittenFloat
from runner.recipe.rows.text import MAX_ROW, read_text, too_long, whole_lines

_EXAMPLE = 'a row reads `{"prompt": "…", "completion": "…"}`'
_BLANK = re.compile(r"[ \t\n]*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_NEAR_END = 32
"""An error this close to the end of what has been read may only say that the rest is missing."""

_decoder = json.JSONDecoder(parse_float=WrittenFloat)


def read_json_rows(path: Path, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row with the number of its line; in an array, with its own number among the rows.

    Raises:
        UserError: a row is not JSON, or not an object.
        OSError: the file cannot be read.
    """
    pieces = read_text(path, where)
    before = 0
    for piece in pieces:
        start = _BLANK.match(piece).end()  # type: ignore[union-attr]
        before += piece.count("\n", 0, start)
        if start < len(piece):
            break
    else:
        return
    if piece[start] == "[":
        yield from _array(piece[start + 1 :], pieces, where)
        return
    blocks = whole_lines(itertools.chain([piece[start:]], pieces), where)
    first, block = next(blocks)
    if path.suffix.lower() == ".jsonl" or _is_whole(block):
        for number, lines in itertools.chain([(first, block)], blocks):
            yield from _lines(number + before, lines, where)
    else:
        yield from _objects(1 + before, block, (text for _, text in blocks), where)


def is_array(path: Path, where: str) -> bool:
    """Whether a file is a JSON array, whose rows are counted instead of lines.

    Raises:
        UserError: it is not text.
        OSError: it cannot be read.
    """
    return next((text.lstrip().startswith("[") for text in read_text(path, where) if text.strip()), False)


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
        row, end = _decoder.raw_decode(line, _BLANK.match(line).end())  # type: ignore[union-attr]
        end = _BLANK.match(line, end).end()  # type: ignore[union-attr]
        if end != len(line):
            raise json.JSONDecodeError("Extra data", line, end)
    except (ValueError, RecursionError) as error:
        raise _not_json(error, place, where) from error
    return _checked(row, line, place, where)


def _lines(number: int, block: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line in block.split("\n"):
        if line and not line.isspace():
            yield number, parse_row(line, f"line {number}", where)
        number += 1


def _array(text: str, pieces: Iterator[str], where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    values = _Values(text, pieces, where)
    if values.next_sign() == "]":
        values.skip()
    else:
        number = 1
        while True:
            yield number, values.next_row(f"row {number}")
            sign = values.next_sign()
            if sign not in (",", "]"):
                what = "the end of the file" if not sign else f"`{sign}`"
                raise UserError(f"behind row {number}, `,` or `]` is expected, not {what}", where=where)
            values.skip()
            if sign == "]":
                break
            number += 1
    if values.next_sign():
        raise UserError("text follows the `]` that ends the rows", where=where, remedy="keep one array in a file")


def _objects(number: int, text: str, pieces: Iterator[str], where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield objects that may span lines, each with the number of its first line."""
    values = _Values(text, pieces, where)
    while values.next_sign():
        at = number + values.lines
        yield at, values.next_row(f"line {at}")


def _is_whole(block: str) -> bool:
    """Whether a block's first line is a value by itself."""
    try:
        json.loads(block.partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return True


def _checked(row: Any, text: str, place: str, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{place} is not an object", where=where, remedy=_EXAMPLE)
    if "\\u" in text and _HALF.search(text):
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = str(error.object)[error.start]
            raise UserError(f"{place} holds half of a character, \\u{ord(half):04x}", where=where) from error
    return row


def _not_json(error: Exception, place: str, where: str, before: int = 0) -> UserError:
    """Return the error for text that cannot be parsed; `before` characters come before the row."""
    if isinstance(error, RecursionError):
        return UserError(f"{place} is not JSON that can be read: it is nested too deeply", where=where)
    if isinstance(error, json.JSONDecodeError):
        return UserError(f"{place} is not JSON: {error.msg}, at its character {error.pos - before + 1}", where=where)
    # Python refuses to convert whole numbers of more digits than this.
    return UserError(f"{place} is not JSON that can be read: a number has more than 4300 digits", where=where)


class _Values:
    """JSON values one after the other, read as they are asked for."""

    def __init__(self, text: str, pieces: Iterator[str], where: str) -> None:
        self._text = text
        self._at = 0
        self._pieces = pieces
        self._where = where
        self.lines = 0
        """Line ends before the next value."""

    def next_sign(self) -> str:
        """Return the next character that is not blank, without moving past it; empty at the end of the file."""
        while True:
            end = _BLANK.match(self._text, self._at).end()  # type: ignore[union-attr]
            self._move(end)
            if end < len(self._text):
                return self._text[end]
            if not self._more(0):
                return ""

    def skip(self) -> None:
        """Move past the sign."""
        self._at += 1

    def next_row(self, place: str) -> dict[str, Any]:
        """Return the next value, which has to be a row.

        Args:
            place: its place in the file, for errors.

        Raises:
            UserError: it is not JSON, or not an object.
        """
        if self.next_sign() not in ("{", ""):
            raise UserError(f"{place} is not an object", where=self._where, remedy=_EXAMPLE)
        while True:
            try:
                row, end = _decoder.raw_decode(self._text, self._at)
                break
            except (ValueError, RecursionError) as error:
                length, before = len(self._text) - self._at, self._at
                if length > MAX_ROW:
                    raise too_long(place, self._where) from error
                if not (_may_go_on(error, len(self._text)) and self._more(length)):
                    raise _not_json(error, place, self._where, before) from error
        text = self._text[self._at : end]
        self._move(end)
        return _checked(row, text, place, self._where)

    def _move(self, end: int) -> None:
        self.lines += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self, wanted: int) -> bool:
        """Append at least `wanted` characters, or what is left; False if nothing is."""
        parts, got = [self._text[self._at :]], 0
        for piece in self._pieces:
            parts.append(piece)
            got += len(piece)
            if got >= max(wanted, 1):
                break
        self._text, self._at = "".join(parts), 0
        return got > 0


def _may_go_on(error: Exception, length: int) -> bool:
    """Whether an error may be gone when there is more text."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos > length - _NEAR_END or error.msg.startswith("Unterminated string")
