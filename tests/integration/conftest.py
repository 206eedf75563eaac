"""Fixtures for whole runs."""

import json
from pathlib import Path

import pytest

from runner.train.builtin.catalog import builtin_dataset
from support.forked import Attempts


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty examples from Python's own documentation strings."""
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    rows = list(builtin_dataset("builtin:python-docstrings", where="data"))[:600:10]
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    """Attempts in a folder store of the module's own, one thread each."""
    folder = tmp_path_factory.mktemp("runs")
    return Attempts(str(folder / "store"), folder)
