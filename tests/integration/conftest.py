"""Fixtures for whole runs."""

import json
from pathlib import Path

import pytest

from runner.train.builtin.catalog import builtin_dataset
from support.forked import Attempts
from support.references import References, locked, shared_folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty examples from Python's own documentation strings, in one file for all test processes."""
    path = shared_folder(tmp_path_factory) / "data" / "train.jsonl"
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            rows = list(builtin_dataset("builtin:python-docstrings", where="data"))[:600:10]
            path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> References:
    """Undisturbed runs; tests read them and leave them as they are."""
    return References(shared_folder(tmp_path_factory) / "references")


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    """Attempts in a folder store of the module's own, one thread each."""
    folder = tmp_path_factory.mktemp("runs")
    return Attempts(str(folder / "store"), folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    """Attempts of two training processes each."""
    folder = tmp_path_factory.mktemp("pairs")
    return Attempts(str(folder / "store"), folder, {"RUNNER_PROCESSES": "2", "DS_ACCELERATOR": "cpu"})
