"""Metrics and logs in pieces: an attempt writes immutable, numbered chunks, and readers put them together again."""

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runner.runs.layout import chunk_key, run_key
from runner.runs.lineage import Position, read_lineage
from runner.storage.manifest import Damaged
from runner.storage.store import Store, create_ours

_READS_AT_ONCE = 16
_CHUNK = re.compile(r"(?P<token>\d{4,}-[0-9a-z]{4})-(?P<sequence>\d+)\.(?:jsonl|txt)")
_PLACES = {"before": 0, "": 1, "during": 2, "after": 3}
"""Where an evaluation of a phase stands beside the training record of the same step."""

Cursor = Mapping[str, int]
"""How far a log was read: the last chunk of each attempt, by token."""


class ChunkWriter:
    """One attempt's metrics or logs on their way to the store. Any thread may append and flush.

    Args:
        store: where to.
        run_id: the run.
        kind: ``metrics`` or ``logs``.
        token: the attempt that writes.
    """

    def __init__(self, store: Store, run_id: str, kind: str, token: str) -> None:
        self._store = store
        self._run_id = run_id
        self._kind = kind
        self._token = token
        self._buffer = bytearray()
        self._pending: bytes | None = None
        self._sequence = 1
        self._appending = threading.Lock()
        self._flushing = threading.Lock()

    def append(self, data: str | bytes) -> None:
        """Take more; never waits for the store."""
        with self._appending:
            self._buffer += data.encode() if isinstance(data, str) else data

    def flush(self, *, final: bool = False) -> None:
        """Write all that was appended before this call; when it returns, a reader sees it.

        After a failure nothing is lost, and the next flush goes on where this one stopped.

        Args:
            final: write the first bytes of a character too whose last ones never came; they wait otherwise.

        Raises:
            StoreUnavailable, StoreFull, UserError: from the store.
        """
        with self._flushing:
            while True:
                if self._pending is None:
                    self._pending = self._taken(final)
                if not self._pending:
                    self._pending = None
                    return
                # What was once sent under a number stays as it is: the answer may be all that was lost.
                key = chunk_key(self._run_id, self._kind, self._token, self._sequence)
                if not create_ours(self._store, key, self._pending):
                    raise RuntimeError(f"somebody else wrote {key}")
                self._sequence += 1
                self._pending = None

    def _taken(self, final: bool) -> bytes:
        with self._appending:
            end = len(self._buffer) - (0 if final else _incomplete(self._buffer))
            data = bytes(self._buffer[:end])
            del self._buffer[:end]
        return data


def read_metrics(store: Store, run_id: str, *, cache: MutableMapping[str, bytes] | None = None) -> list[dict[str, Any]]:
    """The metrics along the lineage of the newest attempt: one training record a step, and each evaluation once.

    Args:
        store: where from.
        run_id: the run.
        cache: chunks by key, for who asks again and again: they never change, and only new ones are read.

    Returns:
        The records by stage and step; an evaluation before training comes before the step's training record, others
        after it.

    Raises:
        Damaged: a chunk is missing or holds something else than records.
    """
    lineage = read_lineage(store, run_id)
    chunks = _chunks(store, run_id, "metrics")
    found: dict[tuple[Position, int, str], dict[str, Any]] = {}
    for token in lineage.tokens:
        keys = list(chunks.get(token, {}).values())
        missing = set(range(1, len(keys) + 1)) - chunks.get(token, {}).keys()
        if missing:
            raise Damaged(chunk_key(run_id, "metrics", token, min(missing)), "missing")
        for key, data in zip(keys, _contents(store, keys, {} if cache is None else cache), strict=True):
            for record, (stage, step, place, phase) in _records(key, data):
                if lineage.holds(token, stage, step):
                    # The first that was shown stays.
                    found.setdefault((lineage.position(stage, step), place, phase), record)
    return [found[place] for place in sorted(found)]


def read_log(store: Store, run_id: str, after: Cursor | None = None) -> tuple[str, Cursor]:
    """What all attempts printed, in their order, since the last call.

    Args:
        store: where from.
        run_id: the run.
        after: the cursor that the last call returned; None reads from the beginning.

    Returns:
        The new text, and the cursor for the next call.
    """
    seen = dict(after or {})
    keys = []
    for token, chunks in sorted(_chunks(store, run_id, "logs").items(), key=_in_order):
        new = [sequence for sequence in chunks if sequence > seen.get(token, 0)]
        keys += [chunks[sequence] for sequence in new]
        if new:
            seen[token] = new[-1]
    return b"".join(_contents(store, keys, {})).decode(errors="replace"), seen


def _chunks(store: Store, run_id: str, kind: str) -> dict[str, dict[int, str]]:
    """Keys by sequence, in order, by token."""
    prefix = run_key(run_id, f"{kind}/")
    found: dict[str, dict[int, str]] = {}
    for info in store.objects(prefix):
        match = _CHUNK.fullmatch(info.key.removeprefix(prefix))
        if match is not None:
            found.setdefault(match["token"], {})[int(match["sequence"])] = info.key
    return {token: dict(sorted(chunks.items())) for token, chunks in found.items()}


def _in_order(item: tuple[str, object]) -> tuple[int, str]:
    token = item[0]
    return int(token.partition("-")[0]), token


def _contents(store: Store, keys: Iterable[str], cache: MutableMapping[str, bytes]) -> list[bytes]:
    wanted = list(keys)
    new = [key for key in wanted if key not in cache]
    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="chunks") as pool:
        cache.update(zip(new, pool.map(store.get, new), strict=True))
    return [cache[key] for key in wanted]


def _records(key: str, data: bytes) -> Iterator[tuple[dict[str, Any], tuple[str, int, int, str]]]:
    """Each record, with its stage, its step, and what tells and orders the records of one step."""
    for line in data.splitlines():
        try:
            record = json.loads(line)
            stage, step, kind = record["stage"], record["step"], record["kind"]
            phase = str(record.get("phase", "during")) if kind == "eval" else ""
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(key, "holds something else than records of metrics") from error
        if not isinstance(stage, str) or not isinstance(step, int):
            raise Damaged(key, "holds a record without a stage or a step")
        yield record, (stage, step, _PLACES.get(phase, 2), phase)


def _incomplete(data: bytearray) -> int:
    """How many bytes at the end begin a UTF-8 character that is not complete yet."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue  # goes on with a character
        length = 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4 if byte >> 3 == 0b11110 else 1
        return back if length > back else 0
    return 0
