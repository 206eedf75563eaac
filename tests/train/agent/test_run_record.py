"""An attempt that a task started by hand brings its run along, and one that gets nowhere stops."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.errors import UserError
from runner.runs.attempts import Attempt
from runner.runs.layout import RUN_VARIABLE, CheckpointName
from runner.storage.open import open_store
from runner.train.agent.restart_policy import attempts_without_progress
from runner.train.agent.run_record import load_or_register_run


def record(path: str = "builtin:python-docstrings") -> dict[str, Any]:
    return {
        "run_id": "r",
        "name": "small",
        "recipe": {"data": {"train": [{"path": path}], "eval": []}, "training": {}},
        "infra": "local",
        "accelerators": None,
        "created_at": "2026-01-01T00:00:00+00:00",
    }


def test_a_run_that_the_store_does_not_know_is_written(tmp_path: Path) -> None:
    """Once; a record that is there stands."""
    store = open_store(str(tmp_path))
    load_or_register_run(store, "r", {RUN_VARIABLE: yaml.safe_dump(record())})
    assert json.loads(store.get("runs/r/run.json")) == record()
    load_or_register_run(store, "r", {RUN_VARIABLE: yaml.safe_dump({**record(), "name": "another"})})
    assert json.loads(store.get("runs/r/run.json")) == record()


def test_a_run_that_nobody_knows_is_a_mistake(tmp_path: Path) -> None:
    """So is one whose files nobody has brought to the store."""
    store = open_store(str(tmp_path))
    for environ in ({}, {RUN_VARIABLE: yaml.safe_dump({**record(), "run_id": "other"})}):
        with pytest.raises(UserError, match="no run 'r'"):
            load_or_register_run(store, "r", environ)
    with pytest.raises(UserError, match=r"inputs/abc/rows\.jsonl"):
        load_or_register_run(store, "r", {RUN_VARIABLE: yaml.safe_dump(record("inputs/abc/rows.jsonl"))})
    store.create("runs/r/inputs/abc/rows.jsonl", b"{}")
    load_or_register_run(store, "r", {RUN_VARIABLE: yaml.safe_dump(record("inputs/abc/rows.jsonl"))})


def attempt(number: int, restored: str | None, ended: dict[str, Any] | None = None) -> Attempt:
    name = CheckpointName.parse(restored) if restored else None
    return Attempt(number, f"{number:04d}-aaaa", {}, True, name, ended)


def test_attempts_that_got_nowhere_are_counted() -> None:
    """Those since the last newer checkpoint, and since somebody was told."""
    first, second = "train-10-0001-aaaa", "train-20-0003-aaaa"
    earlier = [attempt(1, None), attempt(2, first), attempt(3, first, {"retry": True}), attempt(4, first)]
    assert attempts_without_progress(earlier, CheckpointName.parse(first)) == 3
    assert attempts_without_progress(earlier, CheckpointName.parse(second)) == 0
    assert attempts_without_progress([*earlier, attempt(5, first, {"retry": False})], CheckpointName.parse(first)) == 0
    assert attempts_without_progress([], None) == 0
