"""Metrics and logs in chunks: an attempt writes immutable, numbered chunks, and readers put them together again."""

import re
import threading
from collections.abc import Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor

from runner.runs.layout import chunk_key, run_key
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, ObjectInfo, Store, create_ours

_READS_AT_ONCE = 16
_CHUNK_BYTES = 4 << 20
"""What one chunk holds at most, unless a line is longer."""
_CHUNK = re.compile(r"(?P<token>[0-9]{4,12}-[0-9a-z]{4})-(?P<sequence>[0-9]{1,12})\.(?:jsonl|txt)")


class ChunkWriter:
    """Writes one attempt's metrics or logs to the store. Any thread may append and flush.

    Args:
        store: where the run lives.
        run_id: the run.
        kind: ``metrics``, ``logs`` or ``system``.
        token: the attempt that writes.
        most_bytes: how much is kept while the store does not take it; what is appended then is left out, and how much
            that was is written in its place. None: all is kept.
        first: the number of its first chunk, where several machines write under one token.
    """

    def __init__(
        self, store: Store, run_id: str, kind: str, token: str, *, most_bytes: int | None = None, first: int = 1
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._kind = kind
        self._token = token
        self._buffer = bytearray()
        self._pending: bytes | None = None
        self._sequence = first
        self._most_bytes = most_bytes
        self._left_out = 0
        self._appending = threading.Lock()
        self._flushing = threading.Lock()

    def append(self, data: str | bytes) -> None:
        """Buffer more; never waits for the store."""
        encoded = data.encode(errors="replace") if isinstance(data, str) else data
        with self._appending:
            if self._most_bytes is not None and len(self._buffer) + len(encoded) > self._most_bytes:
                self._left_out += len(encoded)
            else:
                self._buffer += encoded

    def flush(self, *, final: bool = False) -> None:
        """Write all that was appended before this call; when it returns, a reader sees it.

        After a failure nothing is lost, and the next flush goes on where this one stopped.

        Args:
            final: also write an incomplete UTF-8 character at the end; otherwise it waits for its last bytes.

        Raises:
            StoreUnavailable, StoreFull, UserError: from the store.
        """
        with self._flushing:
            while True:
                if self._pending is None:
                    self._pending = self._take(final)
                if not self._pending:
                    self._pending = None
                    return
                # What was sent under a number once stays as it is: it may have arrived although the answer was lost.
                key = chunk_key(self._run_id, self._kind, self._token, self._sequence)
                if not create_ours(self._store, key, self._pending):
                    raise RuntimeError(f"another process wrote {key}")
                self._sequence += 1
                self._pending = None

    def unwritten(self) -> dict[int, str]:
        """Return what the store does not have yet, by the number of the chunk that it is to be."""
        with self._flushing:
            parts = [] if self._pending is None else [self._pending]
            with self._appending:
                parts += [bytes(self._buffer)] if self._buffer else []
            return {self._sequence + index: part.decode() for index, part in enumerate(parts)}

    def _take(self, final: bool) -> bytes:
        with self._appending:
            end = len(self._buffer) - (0 if final else _incomplete(self._buffer))
            if end > _CHUNK_BYTES:  # between two lines: a record of metrics stays whole
                buffer = self._buffer
                end = buffer.rfind(b"\n", 0, _CHUNK_BYTES) + 1 or buffer.find(b"\n", _CHUNK_BYTES, end) + 1 or end
            data = bytes(self._buffer[:end])
            del self._buffer[:end]
            if self._left_out:
                self._buffer += f"\n[{self._left_out:,} bytes are left out: the store did not take them]\n".encode()
                self._left_out = 0
        return data


def chunk_infos(store: Store, run_id: str, kind: str) -> dict[str, dict[int, ObjectInfo]]:
    """Such chunks of a run as the store lists them: by their number, in order, by the attempt's token."""
    prefix = run_key(run_id, f"{kind}/")
    infos: dict[str, dict[int, ObjectInfo]] = {}
    for info in store.objects(prefix):
        match = _CHUNK.fullmatch(info.key.removeprefix(prefix))
        if match is not None:
            infos.setdefault(match["token"], {})[int(match["sequence"])] = info
    return {token: dict(sorted(chunks.items())) for token, chunks in infos.items()}


def chunk_keys(store: Store, run_id: str, kind: str) -> dict[str, dict[int, str]]:
    """The keys of the same."""
    return {
        token: {sequence: info.key for sequence, info in chunks.items()}
        for token, chunks in chunk_infos(store, run_id, kind).items()
    }


def by_attempt(item: tuple[str, object]) -> tuple[int, str]:
    """Sorts the items of `chunk_keys` by the attempt's number."""
    token = item[0]
    return int(token.partition("-")[0]), token


def read_chunks(store: Store, keys: Iterable[str], cache: MutableMapping[str, bytes]) -> list[bytes]:
    """The contents of chunks, those that are not in `cache` from the store and then into it.

    Raises:
        Damaged: a chunk was listed and is missing now.
    """

    def read(key: str) -> bytes:
        try:
            return store.get(key)
        except NotFound as error:
            raise Damaged(key, "missing") from error

    wanted = list(keys)
    new = [key for key in wanted if key not in cache]
    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="chunks") as pool:
        cache.update(zip(new, pool.map(read, new), strict=True))
    return [cache[key] for key in wanted]


def _incomplete(data: bytearray) -> int:
    """How many bytes at the end begin a UTF-8 character that is not complete yet."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue  # inside a character
        length = 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4 if byte >> 3 == 0b11110 else 1
        return back if length > back else 0
    return 0
