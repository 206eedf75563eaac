"""A run's logs, of all its attempts. They are read piece by piece: a log, or one line of it, may be of any length."""

import re
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from runner.runs.chunks import by_attempt, chunk_infos
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, ObjectInfo, Store

Cursor = Mapping[str, int]
"""How far a log was read: the last chunk of each attempt, by token."""

_COLOR_OR_CONTROL = re.compile(
    # An escape stands alone, so that a color right after others is seen.
    "(\x1b\\[[0-9;]{0,30}m)|\r\n?|\x1b"
    "|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+"
)
_BEGUN = re.compile("(?:\x1b(?:\\[[0-9;]{0,30})?|\r)\\Z")
_PIECE_BYTES = 1 << 20
_LARGE_BYTES = 8 << 20
"""A chunk that is larger is kept in a file, not in memory. Ours are smaller."""
_AHEAD = 8


def read_log(store: Store, run_id: str, after: Cursor | None = None) -> tuple[str, Cursor]:
    """What all attempts printed, in the order of attempts, since the last call.

    Args:
        store: where the run lives.
        run_id: the run.
        after: the cursor that the last call returned; None reads from the beginning.

    Returns:
        The new text, and the cursor for the next call.
    """
    pieces, cursor = open_log(store, run_id, after)
    return "".join(pieces), cursor


def open_log(
    store: Store, run_id: str, after: Cursor | None = None, *, tail: int | None = None
) -> tuple[Iterator[str], Cursor]:
    """The same, in pieces of at most a few MiB, which are fetched as they are asked for.

    Args:
        store, run_id, after: as for `read_log`.
        tail: begin with this many of the last lines; None: at the beginning.

    Raises:
        Damaged: a chunk was listed and is missing now. (Raised by the iterator as well.)
    """
    read_to = dict(after or {})
    new: list[ObjectInfo] = []
    for token, chunks in sorted(chunk_infos(store, run_id, "logs").items(), key=by_attempt):
        unread = [sequence for sequence in chunks if sequence > read_to.get(token, 0)]
        new += [chunks[sequence] for sequence in unread]
        if unread:
            read_to[token] = unread[-1]
    return _text(_log_pieces(store, new, tail)), read_to


def for_terminal(log: str) -> str:
    """A log without control sequences other than colors, so that it cannot move the cursor or set the title.

    A carriage return begins a new line: a progress bar is shown step by step, and no line hides another.
    """
    if log.replace("\n", "").isprintable():
        return log
    return _COLOR_OR_CONTROL.sub(_shown, log)


def _shown(match: re.Match[str]) -> str:
    return "\n" if match[0][0] == "\r" else match[1] or "\N{REPLACEMENT CHARACTER}" * len(match[0])


def pieces_for_terminal(pieces: Iterable[str]) -> Iterator[str]:
    """The same for a log in pieces: a color or line end may begin in one and end in the next."""
    begun = ""
    for piece in pieces:
        text = begun + piece
        match = _BEGUN.search(text)
        begun = "" if match is None else match[0]
        yield for_terminal(text[: len(text) - len(begun)])
    if begun:
        yield for_terminal(begun)


@dataclass(frozen=True)
class _Start:
    """Where the last lines of a log begin."""

    chunk: int = 0
    """The number of the chunk."""
    offset: int = 0
    """The first byte in it."""


def _text(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = getincrementaldecoder("utf-8")(errors="replace")
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _log_pieces(store: Store, chunks: Sequence[ObjectInfo], tail: int | None) -> Iterator[bytes]:
    with TemporaryDirectory(prefix="runner-log-") as folder, closing(_Reader(store, Path(folder))) as reader:
        start = _Start() if tail is None else _start_of_tail(reader, chunks, tail)
        skip = start.offset
        for piece in reader.pieces(chunks[start.chunk :]):
            yield piece[skip:]
            skip = max(0, skip - len(piece))


def _start_of_tail(reader: "_Reader", chunks: Sequence[ObjectInfo], lines: int) -> _Start:
    """Find the beginning of the last lines, from the end backwards."""
    if lines == 0:
        return _Start(len(chunks))
    at_end = True
    for number in range(len(chunks) - 1, -1, -1):
        end = chunks[number].size
        for piece in reader.backwards(chunks[number]):
            end -= len(piece)
            position = len(piece)
            if at_end and piece:
                at_end = False
                position -= piece.endswith(b"\n")  # the end of the last line begins no other
            while (position := piece.rfind(b"\n", 0, position)) >= 0:
                lines -= 1
                if lines == 0:
                    return _Start(number, end + position + 1)
    return _Start()


class _Reader:
    """Reads chunks: small ones into memory, a few at a time and ahead; large ones through a file."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="logs")
        self._files: dict[str, Path] = {}

    def close(self) -> None:
        """Stop reading ahead."""
        self._pool.shutdown(cancel_futures=True)

    def pieces(self, chunks: Sequence[ObjectInfo]) -> Iterator[bytes]:
        """The contents of chunks, in order."""
        ahead: deque[Future[bytes] | None] = deque()
        for number, info in enumerate(chunks):
            for next_info in chunks[number + len(ahead) : number + _AHEAD]:
                ahead.append(None if next_info.size > _LARGE_BYTES else self._pool.submit(self._get, next_info))
            future = ahead.popleft()
            if future is not None:
                yield future.result()
                continue
            with self._file(info).open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece

    def backwards(self, info: ObjectInfo) -> Iterator[bytes]:
        """The contents of one chunk in pieces, the last one first."""
        if info.size <= _LARGE_BYTES:
            yield self._get(info)
            return
        with self._file(info).open("rb") as file:
            end = info.size
            while end > 0:
                begin = max(0, end - _PIECE_BYTES)
                file.seek(begin)
                yield file.read(end - begin)
                end = begin

    def _get(self, info: ObjectInfo) -> bytes:
        try:
            return self._store.get(info.key)
        except NotFound as error:
            raise Damaged(info.key, "missing") from error

    def _file(self, info: ObjectInfo) -> Path:
        if info.key not in self._files:
            path = self._folder / str(len(self._files))
            try:
                self._store.download(info.key, path)
            except NotFound as error:
                raise Damaged(info.key, "missing") from error
            self._files[info.key] = path
        return self._files[info.key]
