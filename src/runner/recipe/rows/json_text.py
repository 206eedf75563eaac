"""The text of a JSON file, taken apart: whole lines, or values one after the other; whatever the file's ending."""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from runner.errors import UserError
from runner.recipe.rows.text import MAX_ROW, Span, read_text, too_long, whole_lines

RowT = TypeVar("RowT")
Parse: TypeAlias = Callable[[str, int], tuple[RowT, int]]
"""Parses the value that begins at an index of a text; returns it, and the index of its end. Raises as `json` does."""

_BLANK = re.compile(r"[ \t\n]*")
# Half of a pair of escapes without its other half. A backslash before it may undo it: see `check_characters`.
_HIGH, _LOW = r"[89abAB][0-9a-fA-F]{2}", r"[c-fC-F]"
_HALF = re.compile(rf"\\u[dD](?:{_HIGH}(?!\\u[dD]{_LOW})|{_LOW}(?<!\\u[dD]{_HIGH}\\u[dD]{_LOW}))")
_NEAR_END = 32
"""An error this close to the end of what has been read may only say that the rest is missing."""


@dataclass(frozen=True)
class Lines:
    """Some lines of JSON Lines, and the number of the first."""

    number: int
    text: str


def json_parts(
    path: Path, where: str, parse: Parse[RowT], *, only_lines: bool, span: Span | None = None
) -> Iterator[Lines | tuple[int, RowT]]:
    """Yield a file of JSON Lines in blocks of lines; one of another form as rows, each with its number.

    A row of an array is numbered among the rows, and an object that stands alone by its first line.

    Args:
        path: the file.
        where: its name, for errors.
        parse: makes a row of an object.
        only_lines: a row ends with its line, unless the file is an array; otherwise objects may span lines.
        span: the part of the file that is read.

    Raises:
        UserError: a value is not JSON, or not an object; blocks of lines are not parsed.
        OSError: the file cannot be read.
    """
    pieces = read_text(path, where, span=span)
    before = 0
    for piece in pieces:
        start = skip_blank(piece, 0)
        before += piece.count("\n", 0, start)
        if start < len(piece):
            break
    else:
        return
    if piece[start] == "[":
        yield from _array(_Values(piece[start + 1 :], pieces, where, parse), where)
        return
    blocks = whole_lines(itertools.chain([piece[start:]], pieces), where)
    first, block = next(blocks)
    if only_lines or _begins_with_a_value(block):
        for number, text in itertools.chain([(first, block)], blocks):
            yield Lines(number + before, text)
    else:
        yield from _objects(_Values(block, (text for _, text in blocks), where, parse), 1 + before)


def is_array(path: Path, where: str) -> bool:
    """Whether a file is a JSON array, whose rows are counted instead of lines.

    Raises:
        UserError: it is not text.
        OSError: it cannot be read.
    """
    return next((text.lstrip().startswith("[") for text in read_text(path, where) if text.strip()), False)


def skip_blank(text: str, at: int) -> int:
    """Return the index of the first character from `at` on that is not blank."""
    return _BLANK.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing as well


def has_half(text: str) -> bool:
    """Whether a text may hold half of a character: see `check_characters`, which takes longer to decide."""
    return "\\u" in text and _HALF.search(text) is not None


def check_characters(text: str, place: str, where: str) -> None:
    r"""Refuse a row with half of a character (``\ud83d`` alone), which no encoding can write.

    Args:
        text: a row in JSON.
        place: ``line 3``, for errors.
        where: the file, for errors.

    Raises:
        UserError: it holds one.
    """
    if has_half(text):
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ord(str(error.object)[error.start])
            raise UserError(f"{place} holds half of a character, \\u{half:04x}", where=where) from error


def not_an_object(place: str, where: str) -> UserError:
    """Return the error for a value that is no row."""
    return UserError(
        f"{place} is not an object", where=where, remedy='a row reads `{"prompt": "…", "completion": "…"}`'
    )


def not_json(error: Exception, place: str, where: str, before: int = 0) -> UserError:
    """Return the error for text that cannot be parsed.

    Args:
        error: what `json` raised.
        place: ``line 3``.
        where: the file.
        before: characters in the parsed text before the row.
    """
    if isinstance(error, RecursionError):
        return UserError(f"{place} is not JSON that can be read: it is nested too deeply", where=where)
    if isinstance(error, json.JSONDecodeError):
        return UserError(f"{place} is not JSON: {error.msg}, at its character {error.pos - before + 1}", where=where)
    # Python refuses to convert whole numbers of more digits than this.
    return UserError(f"{place} is not JSON that can be read: a number has more than 4300 digits", where=where)


class _Values(Generic[RowT]):
    """JSON objects one after the other, read as they are asked for."""

    def __init__(self, text: str, pieces: Iterator[str], where: str, parse: Parse[RowT]) -> None:
        self._text = text
        self._at = 0
        self._pieces = pieces
        self._where = where
        self._parse = parse
        self.lines = 0
        """Line ends before the next value."""

    def next_sign(self) -> str:
        """Return the next character that is not blank, without moving past it; empty at the end of the file."""
        while True:
            self._move(skip_blank(self._text, self._at))
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(1):
                return ""

    def skip(self) -> None:
        """Move past the sign."""
        self._at += 1

    def next_row(self, place: str) -> RowT:
        """Return the next value, which has to be a row.

        Args:
            place: its place in the file, for errors.

        Raises:
            UserError: it is not JSON, or not an object.
        """
        if self.next_sign() not in ("{", ""):
            raise not_an_object(place, self._where)
        while True:
            try:
                row, end = self._parse(self._text, self._at)
                break
            except (ValueError, RecursionError) as error:
                length, before = len(self._text) - self._at, self._at
                if length > MAX_ROW:
                    raise too_long(place, self._where) from error
                if not (_may_go_on(error, len(self._text)) and self._more(length)):
                    raise not_json(error, place, self._where, before) from error
        check_characters(self._text[self._at : end], place, self._where)
        self._move(end)
        return row

    def _move(self, end: int) -> None:
        self.lines += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self, wanted: int) -> bool:
        """Append at least `wanted` characters, or what is left; False if nothing is."""
        parts, got = [self._text[self._at :]], 0
        for piece in self._pieces:
            parts.append(piece)
            got += len(piece)
            if got >= wanted:
                break
        self._text, self._at = "".join(parts), 0
        return got > 0


def _array(values: _Values[RowT], where: str) -> Iterator[tuple[int, RowT]]:
    """Yield the rows of an array whose `[` has been read."""
    sign, number = values.next_sign(), 0
    if sign == "]":
        values.skip()
    while sign != "]":
        number += 1
        yield number, values.next_row(f"row {number}")
        sign = values.next_sign()
        if sign not in (",", "]"):
            what = f"`{sign}`" if sign else "the end of the file"
            raise UserError(f"behind row {number}, `,` or `]` is expected, not {what}", where=where)
        values.skip()
    if values.next_sign():
        raise UserError("text follows the `]` that ends the rows", where=where, remedy="keep one array in a file")


def _objects(values: _Values[RowT], first: int) -> Iterator[tuple[int, RowT]]:
    """Yield objects that may span lines, each with the number of the line that it begins in."""
    while values.next_sign():
        number = first + values.lines
        yield number, values.next_row(f"line {number}")


def _begins_with_a_value(block: str) -> bool:
    """Whether a block's first line is a value by itself."""
    try:
        json.loads(block.partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return True


def _may_go_on(error: Exception, length: int) -> bool:
    """Whether an error may be gone when there is more text."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos > length - _NEAR_END or error.msg.startswith("Unterminated string")
