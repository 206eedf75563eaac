"""The journal of a sweep in the store: entries under consecutive numbers, each created if absent.

Who writes an entry has read all before it: two writers who want the same number have read the same, and the one who
comes second reads what the first has written and decides anew. So nobody needs to be in charge.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, cast

from runner.redaction import hide_tokens
from runner.runs.layout import new_nonce
from runner.runs.records import DamagedRecord, checked, decoded, encoded, numbered_records
from runner.storage.store import NotFound, Store, create_ours
from runner.sweeps import events
from runner.sweeps.definition import Definition
from runner.sweeps.events import Entry, Event
from runner.sweeps.layout import journal_key, snapshot_key, sweep_key
from runner.sweeps.snapshot import make_snapshot, restore_snapshot
from runner.sweeps.state import SweepState
from runner.terminal import printable

SNAPSHOT_EVERY = 500
"""Entries between two snapshots."""

_ONE_BY_ONE = 8
_READERS = 16
_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0


def _now() -> str:
    """The time of an entry, to the millisecond: budgets are counted by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


Decide = Callable[[SweepState], Sequence[Event]]
"""Computes from the state what happens next; called again after each entry that another writer was faster with."""


class Journal:
    """The journal of one sweep, read as far as `catch_up` has come.

    Args:
        store: where the sweep lives.
        definition: what it is.
        by: who writes, for the entries.
        clock: the time for the entries, ISO 8601.
        on_entry: called with each entry that is read or written, after it counts.
    """

    def __init__(
        self,
        store: Store,
        definition: Definition,
        *,
        by: str,
        clock: Callable[[], str] = _now,
        on_entry: Callable[[Entry], None] = lambda entry: None,
    ) -> None:
        self._store = store
        self._definition = definition
        self._by = printable(by)
        self._clock = clock
        self._on_entry = on_entry
        self._state: SweepState | None = None

    @property
    def definition(self) -> Definition:
        """What the sweep is."""
        return self._definition

    @property
    def state(self) -> SweepState:
        """What has happened, as of the last `catch_up`."""
        return self.catch_up() if self._state is None else self._state

    def catch_up(self) -> SweepState:
        """Read what has been written since; return the state.

        Raises:
            DamagedRecord: an entry cannot be trusted.
            StoreUnavailable: from the store.
        """
        if self._state is None:
            self._state = self._newest_snapshot() or self._empty()
        for entry in self._unread(self._state.number + 1):
            self._apply(entry)
        return self._state

    def append(self, decide: Decide) -> Sequence[Event]:
        """Decide on the newest state, and write what was decided.

        Args:
            decide: pure; an empty answer writes nothing.

        Returns:
            The events that were written, or none.

        Raises:
            DamagedRecord: an entry cannot be trusted.
            StoreFull, StoreUnavailable: from the store; it is not known whether the events were written, and the next
                call finds out.
        """
        pause = _PAUSE_SECONDS
        while True:
            state = self.catch_up()
            chosen = decide(state)
            if not chosen:
                return chosen
            entry: Entry = {
                "version": 1,
                "number": state.number + 1,
                "at": self._clock(),
                "by": self._by,
                "token": new_nonce(12),
                "events": [cleaned(event) for event in chosen],
            }
            data = encoded(cast(Mapping[str, Any], entry))
            written = self._decoded(entry["number"], data)  # as every reader will have it; before it is too late
            if self._create(entry["number"], data):
                self._apply(written)
                if entry["number"] % SNAPSHOT_EVERY == 0:  # by one of all who read it
                    self._write_snapshot()
                return chosen
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _create(self, number: int, data: bytes) -> bool:
        """Write an entry; False if another has its number. A store may let two take it: what can be read counts."""
        key = journal_key(self._definition.sweep_id, number)
        return create_ours(self._store, key, data) and self._store.get(key) == data

    def _unread(self, number: int) -> Iterator[Entry]:
        """Yield the entries from a number on: the first ones one by one, many at once if there are more."""
        for _ in range(_ONE_BY_ONE):
            entry = self._read(number)
            if entry is None:
                return
            yield entry
            number += 1
        with ThreadPoolExecutor(_READERS, thread_name_prefix="journal") as readers:
            while True:
                for entry in list(readers.map(self._read, range(number, number + _READERS))):
                    if entry is None:
                        return
                    yield entry
                number += _READERS

    def _read(self, number: int) -> Entry | None:
        try:
            data = self._store.get(journal_key(self._definition.sweep_id, number))
        except NotFound:
            return None
        return self._decoded(number, data)

    def _decoded(self, number: int, data: bytes) -> Entry:
        key = journal_key(self._definition.sweep_id, number)
        entry = checked_entry(key, decoded(key, data, Entry))
        if entry["number"] != number:
            raise DamagedRecord(key, f"it is entry {entry['number']}")
        return entry

    def _apply(self, entry: Entry) -> None:
        assert self._state is not None
        try:
            self._state.apply(entry)
        except (KeyError, ValueError) as error:
            raise DamagedRecord(
                journal_key(self._definition.sweep_id, entry["number"]),
                f"it does not follow what is before it: {error}",
            ) from error
        self._on_entry(entry)

    def _write_snapshot(self) -> None:
        assert self._state is not None
        data = json.dumps(make_snapshot(self._state), separators=(",", ":")).encode()
        self._store.create(snapshot_key(self._definition.sweep_id, self._state.number), data)

    def _newest_snapshot(self) -> SweepState | None:
        """Return the newest snapshot that can be read; what it leaves out is in the entries."""
        folder = sweep_key(self._definition.sweep_id, "snapshots/")
        for number in sorted(numbered_records(self._store, folder), reverse=True):
            try:
                mapping = json.loads(self._store.get(snapshot_key(self._definition.sweep_id, number)))
                state = restore_snapshot(mapping, **self._shape())
            except (NotFound, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
                continue
            if state.number == number:
                return state
        return None

    def _empty(self) -> SweepState:
        return SweepState(**self._shape())

    def _shape(self) -> dict[str, int]:
        return {"rungs": len(self._definition.rungs) + 1, "sign": self._definition.sign}


_TYPES: Mapping[str, type] = {
    "drawn": events.Drawn,
    "taken": events.Taken,
    "reached": events.Reached,
    "finished": events.Finished,
    "released": events.Released,
    "failed": events.Failed,
    "retried": events.Retried,
    "promoted": events.Promoted,
    "joined": events.Joined,
    "left": events.Left,
    "stop_requested": events.StopRequested,
    "resumed": events.Resumed,
    "changed": events.Changed,
    "known": events.Known,
    "ended": events.Ended,
}


def cleaned(event: Event) -> dict[str, Any]:
    """Return an event as it may be written: texts in one line, without tokens; no number that JSON does not have.

    A reason is what some library said. One that no reader takes would be the end of the sweep.
    """
    return {name: _cleaned(value) for name, value in event.items()}


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return printable(hide_tokens(value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def checked_entry(key: str, entry: Entry) -> Entry:
    """The entry itself, with each event held against its type; events that only a newer version knows are let through.

    Raises:
        DamagedRecord: one of them is not what it must be.
    """
    for event in entry["events"]:
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise DamagedRecord(key, "an event has no name")
        kind = _TYPES.get(event["event"])
        if kind is not None:
            checked(key, event, kind)
    return entry
