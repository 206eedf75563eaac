"""The text of a data file: UTF-8, piece by piece, in bounded memory."""

import codecs
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from runner.errors import UserError

PIECE_BYTES = 1 << 20
"""Bytes that are read at a time."""
MAX_ROW = 1 << 28
"""Characters of the longest row: what is longer is a file of another kind, and would fill the memory."""


class Span(NamedTuple):
    """A part of a file, in bytes."""

    start: int
    end: int


_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks. UTF-32's come first: one of them begins as one of UTF-16 does."""


def read_text(path: Path, where: str, *, keep_line_ends: bool = False, span: Span | None = None) -> Iterator[str]:
    r"""Yield the text of a file in pieces that end anywhere, without its byte order mark.

    Args:
        path: the file.
        where: its name, for errors.
        keep_line_ends: leave ``\r\n`` and ``\r`` as they are, which otherwise become ``\n``.
        span: the part of it that is read, which begins a line; lines are counted from its beginning.

    Raises:
        UserError: it is not UTF-8 text; raised behind the last character that is.
        OSError: it cannot be read.
    """
    number, rest = 1, b""
    with path.open("rb") as file:
        left = path.stat().st_size
        if span is not None:
            file.seek(span.start)
            left = span.end - span.start
        piece = file.read(min(PIECE_BYTES, left))
        left -= len(piece)
        if span is None or span.start == 0:
            piece = _without_mark(piece, where)
        while piece:
            data = rest + piece
            piece = file.read(min(PIECE_BYTES, left))
            left -= len(piece)
            if data.endswith(b"\r") and piece:
                rest = data  # the carriage return may be half of a line's end
                continue
            if b"\r" in data and not keep_line_ends:
                data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            try:
                text, used = codecs.utf_8_decode(data, "strict", not piece)
                fault = None
            except UnicodeDecodeError as error:
                text, used = data[: error.start].decode(), len(data)
                fault = f"is not UTF-8 text (byte 0x{data[error.start]:02X})"
            if "\0" in text:
                text = text[: text.index("\0")]
                fault = "holds a NUL byte, which text never does: the file is damaged, or not UTF-8 text"
            yield text
            number += count_lines(text)
            if fault:
                raise UserError(f"line {number} {fault}", where=where, remedy="write it again, as UTF-8")
            rest = data[used:]


def whole_lines(pieces: Iterable[str], where: str) -> Iterator[tuple[int, str]]:
    r"""Put pieces together to blocks of whole lines; yield the number of a block's first line, and the block.

    Args:
        pieces: text whose lines end in ``\n``.
        where: the file, for errors.

    Raises:
        UserError: a line is longer than `MAX_ROW`.
    """
    number = 1
    begun: list[str] = []
    length = 0
    for piece in pieces:
        end = piece.rfind("\n") + 1
        if end:
            block = "".join((*begun, piece[:end]))
            yield number, block
            number += block.count("\n")
            begun, length = [], 0
        begun.append(piece[end:])
        length += len(piece) - end
        if length > MAX_ROW:
            raise too_long(f"line {number}", where)
    if length:
        yield number, "".join(begun)


def line_spans(path: Path, count: int, *, smallest: int) -> list[Span]:
    r"""Return about equal parts of a file that begin with a line, at most `count`.

    Args:
        path: the file, with lines that end in ``\n``.
        count: how many parts are wanted.
        smallest: bytes that a part has at least.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    count = min(count, size // smallest)
    starts = [0]
    with path.open("rb") as file:
        for number in range(1, count):
            file.seek(max(size * number // count, starts[-1]))
            file.readline(MAX_ROW)
            if starts[-1] < file.tell() < size:
                starts.append(file.tell())
    return [Span(*ends) for ends in itertools.pairwise([*starts, size])]


def count_lines(text: str) -> int:
    r"""Return how many lines end in a text, with ``\n``, ``\r\n`` or ``\r``."""
    ends = text.count("\n")
    return ends + text.count("\r") - text.count("\r\n") if "\r" in text else ends


def too_long(row: str, where: str) -> UserError:
    """Return the error for a row that is longer than any is."""
    return UserError(f"{row} is longer than {MAX_ROW >> 20} million characters", where=where)


def _without_mark(head: bytes, where: str) -> bytes:
    remedy = "save it as UTF-8"
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            raise UserError(f"the file is {encoding} text, not UTF-8", where=where, remedy=remedy)
    line = head[:4096].partition(b"\n")[0]
    if line.count(0) * 3 > len(line):  # every other byte, where letters are Latin
        raise UserError("the file is not UTF-8 text: it is UTF-16, or not text at all", where=where, remedy=remedy)
    return head.removeprefix(codecs.BOM_UTF8)
