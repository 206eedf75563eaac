"""An attempt that a task started by hand brings its run along."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.errors import UserError
from runner.runs.layout import RUN_VARIABLE
from runner.storage.open import open_store
from runner.train.agent.records.run_record import load_or_register_run


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
