"""A place for runs on this machine: a store, folders of our own, and the stand-in for the attempt program."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.backends.lock import RunLock
from runner.control.launching.submit import submit
from runner.paths import state_folder, work_folder
from runner.runs.submission.run_json import run_json
from runner.storage.local import LocalStore
from runner.storage.open import open_store
from runner.storage.store import Store
from support.paths import TESTS

STAND_IN = "support.fakes.fake_attempt"

CLI = """
from runner.cli.main import main
from runner.backends.local import backend
backend.ENTRYPOINT = "support.fakes.fake_attempt"
main()
"""
_SUPERVISE = """
import json, sys
from runner.backends.local import supervisor as local
from runner.control.resume import acquire_run
from runner.storage.open import open_store
store, run_id, limits = open_store(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
lock = acquire_run(store, run_id)
supervisor = local.Supervisor(
    store, run_id, environment={}, say=lambda text: print(text, flush=True),
    limits=local.Limits(**limits), entrypoint="support.fakes.fake_attempt",
)
sys.exit(supervisor.run())
"""

_RECIPE = """
name: {name}
method: sft
model: {{model_name_or_path: "builtin:tiny-llama"}}
data:
  train: [{{path: "builtin:python-docstrings"}}]
training: {training}
"""

Plan = dict[str, Any]


class Bench:
    """What the tests of the engine and the command line share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = open_store(str(folder / "store"))
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "RUNNER_STORE": self.store.url,
            "PYTHONPATH": str(TESTS),
        }
        for name in ("NO_COLOR", "STAND_IN", "HF_TOKEN", "WANDB_API_KEY"):
            self.environment.pop(name, None)
        (folder / "home").mkdir()

    def submit(self, run_id: str = "run", *, created_at: str = "2026-01-01T00:00:00+00:00", **recipe: Any) -> str:
        """Submit a run of a small recipe; its id."""
        mapping = {"name": "small", "training": {"max_steps": 10}, "data": {"train": [], "eval": []}, **recipe}
        document = run_json(
            run_id=run_id,
            recipe=mapping,
            settings={},
            recipe_digest=json.dumps(mapping),
            git_revision=None,
            created_at=created_at,
        )
        assert submit(self.store, document, {})
        return run_id

    def recipe(self, name: str = "small", **training: Any) -> Path:
        """A recipe's file in our folder: `name`.yaml."""
        settings = json.dumps({"max_steps": 10, **training})
        path = self.folder / f"{name}.yaml"
        path.write_text(_RECIPE.format(name=name, training=settings))
        return path

    def runner(self, *arguments: str, plan: Plan | None = None, **options: Any) -> "subprocess.CompletedProcess[str]":
        """A command of `runner`'s, to its end."""
        return self._finished([sys.executable, "-c", CLI, *arguments], plan, options)

    def supervise(self, run_id: str, plan: Plan, **limits: float) -> "subprocess.CompletedProcess[str]":
        """Supervise a run to its end, in a process of its own; what it says is its standard output."""
        return self._finished(self._supervision(run_id, limits), plan, {})

    def start_supervisor(self, run_id: str, plan: Plan, **limits: float) -> "subprocess.Popen[str]":
        """The same, not waited for."""
        return self.start(self._supervision(run_id, limits), plan)

    def start_runner(self, *arguments: str, plan: Plan | None = None) -> "subprocess.Popen[str]":
        """A command of `runner`'s, not waited for."""
        return self.start([sys.executable, "-c", CLI, *arguments], plan or {})

    def start(self, command: list[str], plan: Plan) -> "subprocess.Popen[str]":
        """A process with our folders in its environment."""
        environment = {**self.environment, "STAND_IN": json.dumps(plan)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=environment, cwd=self.folder, text=True, start_new_session=True, **pipes)

    def pids(self, run_id: str = "run") -> list[int]:
        """The attempt's process and its worker's, as soon as there are any."""
        path = work_folder(self.store.url, run_id) / "pids"
        wait_until(lambda: path.exists() and len(path.read_text().split()) == 2)
        return [int(pid) for pid in path.read_text().split()]

    def lock(self, run_id: str) -> RunLock:
        """A run's lock, held by this process."""
        return RunLock.take(state_folder(self.store.url, run_id))

    def written(self) -> bytes:
        """All that is in the store, in our state and in our cache, as one."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and "home" not in path.parts]
        return b"\n".join(path.read_bytes() for path in files)

    def _supervision(self, run_id: str, limits: dict[str, float]) -> list[str]:
        return [sys.executable, "-c", _SUPERVISE, self.store.url, run_id, json.dumps(limits)]

    def _finished(
        self, command: list[str], plan: Plan | None, options: dict[str, Any]
    ) -> "subprocess.CompletedProcess[str]":
        environment = {**self.environment, "STAND_IN": json.dumps(plan or {}), **options.pop("env", {})}
        options = {"cwd": self.folder, "timeout": 300, **options}
        return subprocess.run(command, env=environment, capture_output=True, text=True, **options)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty store, and folders that nobody else uses, also for what runs in this process."""
    made = Bench(tmp_path)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "RUNNER_STORE"):
        monkeypatch.setenv(name, made.environment[name])
    assert isinstance(made.store, LocalStore)
    return made


def wait_until(condition: Callable[[], bool], *, seconds: float = 120.0) -> None:
    """Wait for something that another process does; the limit is only for what never happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
