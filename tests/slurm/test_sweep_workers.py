"""A sweep's workers as jobs of a real SkyPilot on a real Slurm: one request for all, and none left when stopped."""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.backends.base import Reporter, ResourceOptions
from runner.backends.skypilot.request import plan
from runner.backends.skypilot.workers import SkyPilotWorkers
from runner.backends.workers import SweepWorkers
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.attempts import attempts
from runner.runs.metrics import read_metrics
from runner.storage.open import open_store
from runner.sweeps.definition import read_definition
from runner.sweeps.journal import Journal
from runner.sweeps.state import SweepState
from runner.sweeps.workers.heartbeats import read_worker_heartbeat
from runner.sweeps.workers.launches import worker_launches
from support.runs import outcome
from support.slurm_bed import Testbed

pytestmark = pytest.mark.slurm

RECIPE = Recipe(
    name="r",
    method="sft",
    model={"model_name_or_path": "builtin:tiny-llama"},
    data=Data(train=(DataSource(path="builtin:python-docstrings"),)),
    resources={"cpus": "1+", "memory": "1+"},
)


def test_workers_are_submitted_at_once_and_none_is_left_when_they_are_stopped(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in testbed.environment.items():
        monkeypatch.setenv(name, value)
    backend = SkyPilotWorkers()
    placement = plan(RECIPE, ResourceOptions(infra=("slurm/testbed",)), None)
    workers = SweepWorkers(sweep_id="asleep", placement=placement, count=2)
    request = backend.request(testbed.store.url, workers, environment=[])
    # What the workers do is none of SkyPilot's business; and nothing has to be installed for that.
    content = {name: part for name, part in request.task.items() if name not in ("setup", "file_mounts")}
    request = dataclasses.replace(request, task={**content, "run": "sleep 3600\n"})
    launch = backend.start(testbed.store, request, environment={}, detach=True, reporter=Reporter(say=print))
    assert launch.started is not None
    assert len(launch.started["job_ids"]) == 2
    deadline = time.monotonic() + 900
    while "RUNNING" not in (status := backend.status(testbed.store, launch)).statuses:
        assert not status.ended, status
        assert time.monotonic() < deadline, status
        time.sleep(3)
    assert status.alive == 2
    # As from another machine, which knows what is in the store only.
    (known,) = worker_launches(testbed.store, "asleep")
    stopped = backend.stop(testbed.store, known, say=print, timeout_seconds=600)
    assert stopped.ended, stopped
    assert list(stopped.statuses) == ["CANCELLED"] * 2
    assert "asleep-workers" not in testbed.slurm("squeue", "--noheader", "--format=%j")
    (ended,) = worker_launches(testbed.store, "asleep")
    assert ended.ended is not None
    assert ended.ended["status"] == "STOPPED"


RECIPE_FILE = {
    "name": "small",
    "method": "sft",
    "model": {"model_name_or_path": "builtin:tiny-llama"},
    "adapter": {"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"},
    "data": {"train": [{"path": "rows.jsonl"}], "eval": {"from_train": 8}},
    "training": {
        "max_steps": 450,
        "effective_batch_size": 4,
        "max_length": 48,
        "learning_rate": 2e-3,
        "gradient_checkpointing": False,
        "eval_strategy": "steps",
        "eval_steps": 150,
        "seed": 3,
    },
    "checkpoint": {"save_steps": 10, "save_total_limit": 2},
    "resources": {"accelerators": "T4:1", "cpus": "1+", "memory": "2+"},
}
SWEEP_FILE = {
    "program": "small.yaml",
    "method": "grid",
    "metric": {"name": "eval/loss", "goal": "minimize"},
    "parameters": {"training.learning_rate": {"values": [4e-3, 1e-3, 1e-4]}},
    "runner": {"parallel": 2, "rungs": [150, 450], "scheduler": "successive_halving", "infra": ["slurm/testbed"]},
}


def written(bed: Testbed) -> str:
    rows = [{"prompt": f"{n} and {n} is", "completion": f"{2 * n}"} for n in range(200)]
    (bed.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (bed.folder / "small.yaml").write_text(yaml.safe_dump(RECIPE_FILE))
    (bed.folder / "search.yaml").write_text(yaml.safe_dump(SWEEP_FILE))
    return str(bed.folder / "search.yaml")


def until(bed: Testbed, holds: Callable[[SweepState], bool], patience_seconds: float = 1200) -> SweepState:
    """Wait until something holds of the sweep."""
    journal = Journal(bed.store, read_definition(bed.store, "search"), by="a test")
    deadline = time.monotonic() + patience_seconds
    while not holds(state := journal.catch_up()):
        assert time.monotonic() < deadline, vars(state)
        time.sleep(1)
    return state


def test_a_sweep_whose_worker_is_taken_away_ends_as_if_it_had_not(testbed: Testbed) -> None:
    """Slurm ends the job of a worker in the middle of a trial: it goes on elsewhere, and no step is trained twice."""
    done = testbed.runner("sweep", "launch", written(testbed), "--name", "search", "--detach")
    assert done.returncode == 0, done.stderr
    testbed.until("search-0000", lambda status: status["state"] == "running" and (status["step"] or 0) > 15)
    taken_away = until(testbed, lambda state: True).trials[0].worker
    assert taken_away is not None, "the trial came to its rung, 135 steps further, within a second"
    testbed.slurm("scancel", slurm_job_of(testbed, taken_away))
    state = until(testbed, lambda state: state.ended is not None)
    assert state.ended is not None
    assert state.ended[0] == "succeeded", state.ended
    assert len(state.trials) == 3
    assert state.workers[taken_away].left_at is not None
    assert len(attempts(testbed.store, "search-0000")) >= 2, "it goes on where another worker is"
    best = f"search-{state.finished[0][1]:04d}"
    made = [len(attempts(testbed.store, f"search-{number:04d}")) for number in range(3)]
    assert sum(made) >= 5, "three to the first rung, one beyond it, and one that was taken away"
    for number in range(3):
        steps = [
            record["step"]
            for record in read_metrics(testbed.store, f"search-{number:04d}")
            if record["kind"] == "train"
        ]
        assert steps == sorted(set(steps))
    assert outcome(testbed.store, best) == trained_straight_through(testbed, best)
    # It says what is still there after a minute, with exit code 1; ending machines may take SkyPilot longer.
    deadline = time.monotonic() + 600
    while (stopped := testbed.runner("sweep", "stop", "search")).returncode != 0:
        assert "still there" in stopped.stderr
        assert time.monotonic() < deadline, stopped.stderr
    # SkyPilot gives the machines of a job that has ended back by itself, after it has said that the job has ended.
    while "search-workers" in testbed.slurm("squeue", "--noheader", "--format=%j"):
        assert time.monotonic() < deadline
        time.sleep(1)


def slurm_job_of(bed: Testbed, worker: str) -> str:
    """The Slurm job that a worker runs in: all nodes are this machine, so its process can be asked."""
    beat = read_worker_heartbeat(bed.store, "search", worker)
    assert beat is not None
    environment = Path(f"/proc/{beat['pid']}/environ").read_bytes().split(b"\0")
    return next(entry.partition(b"=")[2].decode() for entry in environment if entry.startswith(b"SLURM_JOB_ID="))


def trained_straight_through(bed: Testbed, run_id: str) -> dict[str, Any]:
    """What the same run ends with here, in one attempt, by the Python that the nodes have."""
    store = open_store(str(bed.folder / "straight"))
    store.create(f"runs/{run_id}/run.json", bed.store.get(f"runs/{run_id}/run.json"))
    for brought in bed.store.objects("sweeps/search/inputs/"):
        store.put(brought.key, bed.store.get(brought.key))
    attempt = bed.start(*bed.attempt(store.url, run_id, bed.folder / "work" / run_id))
    said = attempt.communicate(timeout=1200)
    assert attempt.returncode == 0, said
    return outcome(store, run_id)
