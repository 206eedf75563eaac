"""Undisturbed runs that other runs are compared with, made once for all test processes of a session."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from runner.recipe.recipe import Recipe
from runner.runs.layout import run_key
from runner.storage.open import open_store
from runner.storage.store import NotFound
from support.forked import Attempts
from support.runs import check_metrics, outcome, submit

RUN_ID = "reference"


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all test processes of this session share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made, against other processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Reference:
    """A finished run that was left alone."""

    attempts: Attempts
    """Its store, and its folder with its log."""
    run_id: str
    outcome: dict[str, Any]
    """What must be the same of a run that was disturbed."""


class References:
    """Makes undisturbed runs, each recipe's once.

    Args:
        folder: shared by all test processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Reference] = {}

    def __call__(
        self,
        recipe: Recipe,
        environment: Mapping[str, str] | None = None,
        *,
        read: Callable[..., dict[str, Any]] = outcome,
    ) -> Reference:
        """Return the run of `recipe` in attempts with these variables; it is made unless there is one.

        Args:
            read: what of the run must not depend on kills, as a function of its store and its id.
        """
        description = json.dumps([recipe.to_mapping(), dict(environment or {})], sort_keys=True)
        key = blake3(description.encode()).hexdigest()[:16]
        if key not in self._known:
            folder = self._folder / key
            attempts = Attempts(str(folder / "store"), folder, dict(environment or {}))
            store = open_store(attempts.store_url)
            with locked(self._folder / f"{key}.lock"):
                try:
                    store.get(run_key(RUN_ID, "result.json"))
                except NotFound:
                    submit(store, RUN_ID, recipe)
                    assert attempts.run(RUN_ID) == 0, attempts.log(RUN_ID)
            ended = read(store, RUN_ID)
            if not recipe.stages:
                check_metrics(ended["metrics"], steps=ended["step"])
            self._known[key] = Reference(attempts, RUN_ID, ended)
        return self._known[key]
