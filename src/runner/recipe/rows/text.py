"""The text of a data file: UTF-8, piece by piece, in bounded memory."""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.errors import UserError

PIECE_BYTES = 1 << 20
"""Bytes that are read at a time."""
MAX_ROW = 1 << 28
"""Characters of the longest row: what is longer is a file of another kind, and would fill the memory."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks. UTF-32's come first: one of them begins as one of UTF-16 does."""


def read_text(path: Path, where: str, *, keep_line_ends: bool = False) -> Iterator[str]:
    r"""Yield the text of a file in pieces that end anywhere, without its byte order mark.

    Args:
        path: the file.
        where: its name, for errors.
        keep_line_ends: leave ``\r\n`` and ``\r`` as they are, which otherwise become ``\n``.

    Raises:
        UserError: it is not UTF-8 text; raised behind the last character that is.
        OSError: it cannot be read.
    """
    number, rest = 1, b""
    with path.open("rb") as file:
        piece = _without_mark(file.read(PIECE_BYTES), where)
        while piece:
            data = rest + piece
            piece = file.read(PIECE_BYTES)
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
