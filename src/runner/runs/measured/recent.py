"""What a run that goes on has learned and used of late, besides its status: read again and again at little cost.

A bucket is asked for the next chunk of metrics and of the machine's records by its name: chunks are numbered and never
change. A long run's first look takes `_SAMPLED` chunks of all, evenly spaced: a sparkline has no more places.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.runs.checkpoints.lineage import Lineage, read_lineage
from runner.runs.chunks import by_attempt, chunk_keys, read_chunks
from runner.runs.layout import CheckpointName, chunk_key, run_key
from runner.runs.status import RunStatus
from runner.storage.manifest import MANIFEST
from runner.storage.store import NotFound, Store

_SAMPLED = 48
_NEXT_AT_ONCE = 50
"""Chunks that are asked for one after the other in one look."""


@dataclass(frozen=True, kw_only=True)
class Details:
    """What is known of a run besides its status."""

    losses: Sequence[tuple[float, float | None]] = ()
    """Training losses by step, along the lineage, over all stages; of a long run a part of them."""
    checkpoint_at: datetime | None = None
    """When the newest checkpoint was committed, by the store's clock."""
    system: Mapping[str, Any] | None = None
    """The newest `SystemRecord` of the head."""


class DetailsReader:
    """Reads one run's details. Not for several threads at once."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._metrics = _ChunkFollower(store, run_id, "metrics")
        self._system = _ChunkFollower(store, run_id, "system")
        self._attempts = 0
        self._lineage = Lineage()
        self._points: dict[tuple[int, str, int], float | None] = {}
        self._newest_system: Mapping[str, Any] | None = None
        self._checkpoint: tuple[int, int | None] = (0, None)
        self._checkpoint_at: datetime | None = None

    def read(self, status: RunStatus) -> Details:
        """Read what is new since the last call.

        Raises:
            StoreUnavailable, Damaged: from the store.
        """
        if status.attempts:
            self._read_metrics(status)
            self._read_system()
            self._read_checkpoint(status)
        return Details(
            losses=self._curve(),
            checkpoint_at=self._checkpoint_at,
            system=self._newest_system,
        )

    def _read_metrics(self, status: RunStatus) -> None:
        newest = max((int(token.partition("-")[0]) for token in self._lineage.tokens), default=0)
        if status.attempts != self._attempts or newest != status.attempts:
            lineage = read_lineage(self._store, self._run_id)  # again until the newest attempt has begun
            if lineage != self._lineage:
                self._lineage = lineage
                self._points = {}
                self._metrics.restart(lineage.tokens)
            self._attempts = status.attempts
        for token, data in self._metrics.read(most=_SAMPLED):
            for record in _records(data):
                self._note(token, record)

    def _note(self, token: str, record: Mapping[str, Any]) -> None:
        stage, step = record.get("stage"), record.get("step")
        if not isinstance(stage, str) or type(step) is not int or not self._lineage.holds(token, stage, step):
            return
        place = self._lineage.position(stage, step)
        if _is_number(record.get("loss")):
            self._points[place] = float(record["loss"])
        elif "loss" in (record.get("not_finite") or {}):
            self._points[place] = None

    def _curve(self) -> list[tuple[float, float | None]]:
        """Return the losses over the steps of all stages: one goes on where the one before it ended."""
        curve: list[tuple[float, float | None]] = []
        stage, offset, last = None, 0, 0
        for place in sorted(self._points):
            if place[:2] != stage:
                stage, offset = place[:2], last
            last = offset + place[2]
            curve.append((last, self._points[place]))
        return curve

    def _read_system(self) -> None:
        self._system.restart(self._lineage.tokens, keep=True)
        for _, data in self._system.read(most=1):
            for record in _records(data):
                if record.get("node", 0) == 0:
                    self._newest_system = record

    def _read_checkpoint(self, status: RunStatus) -> None:
        known = (status.attempts, status.checkpoint_step)
        if known == self._checkpoint or status.checkpoint_step is None:
            return
        prefix = run_key(self._run_id, "checkpoints/")
        for info in self._store.objects(prefix):
            folder, _, file = info.key.removeprefix(prefix).partition("/")
            name = CheckpointName.parse(folder)
            if file == MANIFEST and name is not None and self._lineage.holds_checkpoint(name):
                self._checkpoint_at = max(self._checkpoint_at or info.last_modified, info.last_modified)
        self._checkpoint = known


class _ChunkFollower:
    """Reads the chunks of one kind of a run, each once."""

    def __init__(self, store: Store, run_id: str, kind: str) -> None:
        self._store = store
        self._run_id = run_id
        self._kind = kind
        self._tokens: Sequence[str] = ()
        self._next: tuple[str, int] | None = None
        """The attempt and the number of the chunk that comes next; None: the store has to be listed."""

    def restart(self, tokens: Sequence[str], *, keep: bool = False) -> None:
        """Begin again, with the chunks of these attempts, the oldest first; with `keep`, only if they are others."""
        if keep and tuple(tokens) == tuple(self._tokens):
            return
        self._tokens, self._next = tuple(tokens), None

    def read(self, *, most: int) -> list[tuple[str, bytes]]:
        """Return the chunks that are new, each with its attempt; of those there were at first, `most` evenly spaced."""
        if not self._tokens:
            return []
        if self._next is None:
            return self._read_first(most)
        token, number = self._next
        found = []
        for _ in range(_NEXT_AT_ONCE):
            try:
                found.append((token, self._store.get(chunk_key(self._run_id, self._kind, token, number))))
            except NotFound:
                break
            number += 1
        self._next = token, number
        return found

    def _read_first(self, most: int) -> list[tuple[str, bytes]]:
        chunks = chunk_keys(self._store, self._run_id, self._kind)
        keys = [
            (token, key)
            for token, numbers in sorted(chunks.items(), key=by_attempt)
            if token in self._tokens
            for key in numbers.values()
        ]
        newest = self._tokens[-1]
        self._next = newest, max(chunks.get(newest, {}), default=0) + 1
        if len(keys) > most:
            keys = [keys[(number + 1) * len(keys) // most - 1] for number in range(most)]  # with the last one
        contents = read_chunks(self._store, [key for _, key in keys], {})
        return [(token, data) for (token, _), data in zip(keys, contents, strict=True)]


def _records(data: bytes) -> list[Mapping[str, Any]]:
    """Return the records of a chunk; a line that is none is left out, since this is a display."""
    records: list[Mapping[str, Any]] = []
    for line in data.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
