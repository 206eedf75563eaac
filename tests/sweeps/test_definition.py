"""``sweep.json`` is read as it was written, and what cannot be one is damage."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.runs.records import DamagedRecord
from runner.storage.open import open_store
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import read_definition, write_definition
from runner.sweeps.layout import SWEEP, sweep_key
from support.sweeping.definitions import make_definition


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def test_what_was_written_is_read(store: Store) -> None:
    definition = make_definition(rungs=[10, 30], max_steps=90, run_cap=9, max_cost=2.5, target=0.5)
    assert write_definition(store, definition)
    assert read_definition(store, "sweep") == definition


def test_a_sweep_is_launched_once(store: Store) -> None:
    assert write_definition(store, make_definition())
    assert not write_definition(store, make_definition(seed=2))
    assert read_definition(store, "sweep").seed == 1


def test_what_a_newer_version_has_added_is_left_out(store: Store) -> None:
    definition = make_definition(rungs=[10])
    write_definition(store, definition)
    record = json.loads(store.get(sweep_key("sweep", SWEEP)))
    store.put(sweep_key("sweep", SWEEP), json.dumps({**record, "invented_later": 1}).encode())
    assert read_definition(store, "sweep") == definition


def test_there_is_no_sweep_without_a_definition(store: Store) -> None:
    with pytest.raises(NotFound):
        read_definition(store, "sweep")


@pytest.mark.parametrize(
    "change",
    [
        {"sweep_id": "another"},
        {"created_at": "yesterday"},
        {"goal": "best"},
        {"seed": "1"},
        {"rungs": "10, 30"},
        {"rungs": [30, 10]},
        {"rungs": [10, 10]},
        {"rungs": [90]},
        {"rungs": [0]},
        {"eta": 1.0},
        {"max_cost": "much"},
        {"space": []},
        {"recipe": None},
        {"paths": {"inputs/x": 1}},
    ],
)
def test_what_cannot_be_a_definition_is_damage(store: Store, change: Mapping[str, Any]) -> None:
    write_definition(store, make_definition(rungs=[10, 30], max_steps=90))
    record = json.loads(store.get(sweep_key("sweep", SWEEP)))
    store.put(sweep_key("sweep", SWEEP), json.dumps({**record, **change}).encode())
    with pytest.raises(DamagedRecord, match=r"sweeps/sweep/sweep\.json"):
        read_definition(store, "sweep")
