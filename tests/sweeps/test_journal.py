"""The journal in a store, and several who write to it at once."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.runs.records import DamagedRecord
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.sweeps import journal as journal_module
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from runner.sweeps.layout import journal_key, snapshot_key
from runner.sweeps.snapshot import make_snapshot
from runner.sweeps.state import SweepState
from support.sweeping.definitions import make_definition


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def draw_next(state: SweepState) -> list[Event]:
    return [{"event": "drawn", "trial": len(state.trials), "values": {"x": len(state.trials)}}]


def test_two_that_write_at_once_take_no_number_twice_and_end_with_one_state(store: Store) -> None:
    definition = make_definition()
    journals = [Journal(store, definition, by=f"writer {number}") for number in range(4)]

    def write(journal: Journal) -> None:
        for _ in range(25):
            journal.append(draw_next)

    threads = [threading.Thread(target=write, args=(journal,)) for journal in journals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = [journal.catch_up() for journal in journals]
    # Each decision saw all before it: 100 draws made 100 trials, numbered without a gap.
    assert [list(state.trials) for state in states] == [list(range(100))] * 4
    assert [state.number for state in states] == [100] * 4
    assert len({json.dumps(make_snapshot(state), sort_keys=True) for state in states}) == 1


def test_who_comes_second_decides_again_on_what_the_first_has_written(store: Store) -> None:
    definition = make_definition()
    first, second = Journal(store, definition, by="first"), Journal(store, definition, by="second")
    seen = []

    def decide(state: SweepState) -> list[Event]:
        seen.append(len(state.trials))
        if len(seen) == 1:
            first.append(draw_next)  # comes in between
        return draw_next(state)

    second.append(decide)
    assert seen == [0, 1]
    assert sorted(second.state.trials) == [0, 1]


def test_an_empty_decision_writes_nothing(store: Store) -> None:
    journal = Journal(store, make_definition(), by="nobody")
    assert journal.append(lambda state: []) == []
    assert journal.state.number == 0
    assert list(store.objects("sweeps/")) == []


def test_a_reader_begins_with_the_newest_snapshot(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SNAPSHOT_EVERY", 10)
    definition = make_definition()
    writer = Journal(store, definition, by="writer")
    for _ in range(25):
        writer.append(draw_next)
    store.delete([journal_key("sweep", number) for number in range(1, 20)])
    assert len(Journal(store, definition, by="reader").catch_up().trials) == 25


@pytest.mark.parametrize(
    "damage",
    [
        lambda snapshot: {"number": 20, "trials": [17]},
        lambda snapshot: [snapshot],
        lambda snapshot: {**snapshot, "at": "yesterday"},
        lambda snapshot: {**snapshot, "number": 19},
        lambda snapshot: {**snapshot, "trials": [{**trial, "seconds": "many"} for trial in snapshot["trials"]]},
        lambda snapshot: {**snapshot, "trials": [{**trial, "rung": -1} for trial in snapshot["trials"]]},
        lambda snapshot: {**snapshot, "workers": [{"name": "w", "joined_at": 5}]},
        lambda snapshot: {**snapshot, "promoted": [[0]]},
        lambda snapshot: {**snapshot, "limits": {"max_cost": "much"}},
    ],
)
def test_a_damaged_snapshot_costs_time_only(
    store: Store, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(journal_module, "SNAPSHOT_EVERY", 10)
    definition = make_definition()
    writer = Journal(store, definition, by="writer")
    for _ in range(25):
        writer.append(draw_next)
    snapshot = json.loads(store.get(snapshot_key("sweep", 20)))
    store.put(snapshot_key("sweep", 20), json.dumps(damage(snapshot)).encode())
    store.delete([snapshot_key("sweep", 10)])
    assert len(Journal(store, definition, by="reader").catch_up().trials) == 25


@pytest.mark.parametrize(
    "event",
    [
        {"event": "taken", "trial": 99, "worker": "w", "until": None},
        {"event": "drawn", "trial": "first", "values": {}},
        {"event": "reached", "trial": 0, "worker": "w", "step": 10, "value": "low", "seconds": 1.0},
        ["drawn"],
        {},
    ],
)
def test_an_entry_that_makes_no_sense_is_damage_and_is_named(store: Store, event: object) -> None:
    definition = make_definition()
    Journal(store, definition, by="writer").append(draw_next)
    entry = {"version": 1, "number": 2, "at": "2026-01-01T00:00:00+00:00", "by": "x", "token": "t", "events": [event]}
    store.put(journal_key("sweep", 2), json.dumps(entry).encode())
    with pytest.raises(DamagedRecord, match="journal/0002"):
        Journal(store, definition, by="reader").catch_up()


def test_many_entries_are_read_in_order(store: Store) -> None:
    definition = make_definition()
    writer = Journal(store, definition, by="writer")
    for _ in range(120):
        writer.append(draw_next)
    assert list(Journal(store, definition, by="reader").catch_up().trials) == list(range(120))


def test_what_a_library_said_is_written_so_that_every_reader_takes_it(store: Store) -> None:
    definition = make_definition()
    writer = Journal(store, definition, by="host\n1")
    writer.append(draw_next)
    said = "CUDA out of memory.\n\tTried to allocate 2 GiB\x1b[0m hf_abcdefghijklmnopqrstuvwxyz012345"
    for event in (
        {"event": "taken", "trial": 0, "worker": "w\n", "until": None},
        {"event": "failed", "trial": 0, "worker": "w", "kind": "error", "reason": said, "seconds": 1.0},
        {"event": "retried", "trial": 0},
        {"event": "taken", "trial": 0, "worker": "w", "until": None},
        {"event": "finished", "trial": 0, "worker": "w", "step": 9, "value": float("nan"), "seconds": 1.0},
    ):
        writer.append(lambda state, event=event: [event])  # type: ignore[misc]
    trial = Journal(store, definition, by="reader").catch_up().trials[0]
    assert trial == writer.state.trials[0]
    assert trial.failure is not None
    assert trial.failure.startswith("CUDA out of memory. Tried to allocate 2 GiB")
    assert trial.failure.isprintable()
    assert "abcdefghijklmnop" not in trial.failure
    assert trial.value is None


def test_an_event_that_no_reader_would_take_is_not_written(store: Store) -> None:
    definition = make_definition()
    writer = Journal(store, definition, by="writer")
    with pytest.raises(DamagedRecord):
        writer.append(lambda state: [{"event": "drawn", "trial": -1, "values": {}}])
    writer.append(draw_next)
    assert list(Journal(store, definition, by="reader").catch_up().trials) == [0]
