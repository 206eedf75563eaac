"""A sweep's workers as jobs of a real SkyPilot on a real Slurm: one request for all, and none left when stopped."""

import dataclasses
import time

import pytest

from runner.backends.base import Reporter, ResourceOptions
from runner.backends.skypilot.request import plan
from runner.backends.skypilot.workers import SkyPilotWorkers
from runner.backends.workers import SweepWorkers
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.sweeps.workers.launches import worker_launches
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
    workers = SweepWorkers(sweep_id="search", placement=placement, count=2)
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
    (known,) = worker_launches(testbed.store, "search")
    stopped = backend.stop(testbed.store, known, say=print, timeout_seconds=600)
    assert stopped.ended, stopped
    assert list(stopped.statuses) == ["CANCELLED"] * 2
    assert "search-workers" not in testbed.slurm("squeue", "--noheader", "--format=%j")
    (ended,) = worker_launches(testbed.store, "search")
    assert ended.ended is not None
    assert ended.ended["status"] == "STOPPED"
