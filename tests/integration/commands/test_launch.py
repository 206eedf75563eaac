"""The real thing: `runner` on the command line, real attempts, real training, real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.runs.checkpoints.lineage import checkpoints
from runner.storage.open import open_store
from support.runs import assert_same, check_metrics, outcome

RUNNER = Path(sys.executable).parent / "runner"

RECIPE = """
name: small
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
adapter: {r: 4, lora_dropout: 0.1, target_modules: all-linear}
data:
  train: [{path: rows.jsonl}]
  eval: {from_train: 8}
training:
  max_steps: 40
  effective_batch_size: 4
  max_length: 32
  learning_rate: 2.0e-3
  report_to: none
checkpoint: {save_steps: 4, save_total_limit: 2}
evaluate: {before_and_after: true, prompts: ["Return the"], max_new_tokens: 4}
"""


class Machine:
    """A machine with an empty home, a recipe, and `runner`."""

    def __init__(self, folder: Path, data: Path, store: str, cache: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "XDG_"))},
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(cache),
            "RUNNER_STORE": store,
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder / "tmp"),
        }
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        (folder / "small.yaml").write_text(RECIPE)
        (folder / "datasets.py").write_text("raise SystemExit('not the library')")  # people have files of such names
        (folder / "rows.jsonl").write_bytes(data.read_bytes())
        self.store = open_store(store)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `runner` with these arguments."""
        return subprocess.Popen(
            [str(RUNNER), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run `runner` to its end; returns what it printed to standard output."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=180)
        assert process.returncode == code, stdout + stderr
        return stdout


def wait_for(condition: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def processes_of(run_id: str) -> dict[int, str]:
    """The processes that work on the run, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
            except OSError:
                continue
            if run_id in command and "runner" in command:
                found[int(entry.name)] = command
    return found


def worker_of(run_id: str) -> int:
    """The training process of a run that is under way."""
    (worker,) = [pid for pid, command in processes_of(run_id).items() if "runner.train.worker" in command]
    return worker


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def has_pending(process: int, number: signal.Signals) -> bool:
    """Whether a stopped process will get that signal when it goes on."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return bool((int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)) & 1 << (number - 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("launched") / "store")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, data: Path, store: str) -> Machine:
    return Machine(tmp_path_factory.mktemp("home"), data, store, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def calm(machine: Machine) -> dict[str, Any]:
    """How the run ends that is left in peace."""
    said = json.loads(machine.run("launch", "small.yaml", "--name", "calm-run", "--json"))
    assert (said["run_id"], said["state"]) == ("calm-run", "succeeded")
    ended = outcome(machine.store, "calm-run")
    check_metrics(ended["metrics"], steps=40)
    return ended


def test_whatever_is_killed_no_orphan_trains_on_and_another_machine_ends_the_run_alike(
    machine: Machine, calm: dict[str, Any], tmp_path: Path, data: Path, store: str
) -> None:
    """First the training process (the supervisor goes on by itself), then the leader, then the machine is another."""
    launch = machine.start("launch", "small.yaml", "--name", "killed-run")
    wait_for(lambda: len(checkpoints(machine.store, "killed-run")) >= 1)
    os.kill(worker_of("killed-run"), signal.SIGKILL)
    wait_for(lambda: checkpoints(machine.store, "killed-run")[0].token.startswith("0002"))
    launch.kill()
    launch.communicate(timeout=180)
    wait_for(lambda: not processes_of("killed-run"))

    elsewhere = Machine(tmp_path / "other-home", data, store, tmp_path / "other-cache")
    (elsewhere.folder / "rows.jsonl").unlink()  # what the run needs has travelled with it
    assert json.loads(elsewhere.run("ps", "--json", "--all"))[0]["state"] in ("interrupted", "running")
    resumed = elsewhere.start("resume", "killed-run")
    _, said = resumed.communicate(timeout=180)
    assert resumed.returncode == 0, said
    assert "continues from step" in said
    assert_same(outcome(machine.store, "killed-run"), calm)


def test_a_detached_run_is_told_to_stop_and_goes_on_from_another_shell(machine: Machine, calm: dict[str, Any]) -> None:
    """SIGTERM to the leader alone: 75, a checkpoint, no orphan; and `resume` ends it."""
    machine.run("launch", "small.yaml", "--name", "told-run", "--detach")
    wait_for(lambda: len(checkpoints(machine.store, "told-run")) >= 1)
    worker = worker_of("told-run")
    os.kill(worker, signal.SIGSTOP)  # it must not end while we look
    second = machine.start("resume", "told-run")
    _, refused = second.communicate(timeout=180)
    assert second.returncode == 2, "a running run is not resumed a second time"
    assert "running" in refused
    leader = parent_of(parent_of(worker))
    assert leader in processes_of("told-run")
    os.kill(leader, signal.SIGTERM)
    wait_for(lambda: has_pending(worker, signal.SIGTERM))
    os.kill(worker, signal.SIGCONT)
    wait_for(lambda: not processes_of("told-run"))
    assert json.loads(machine.run("wait", "told-run", "--json", code=75))["state"] == "interrupted"
    machine.run("resume", "told-run", "--detach")
    following = machine.run("logs", "told-run", "-f")
    assert "step 40/40" in following
    machine.run("wait", "told-run")
    assert_same(outcome(machine.store, "told-run"), calm)


def test_no_attempt_leaves_its_data_in_the_machines_temporary_folder(machine: Machine, calm: dict[str, Any]) -> None:
    """Neither the one that ended in order nor, in this file's other tests, those that were killed."""
    assert calm["state"] == "succeeded"
    left = [file for file in (machine.folder / "tmp").rglob("*") if file.is_file()]
    assert left == []
