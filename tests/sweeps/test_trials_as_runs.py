"""A trial is a run: the commands for runs do with it what they do with any."""

import json
from typing import Any

import pytest

from runner.exit_codes import INTERRUPTED
from runner.runs.launches import newest_launch
from runner.sweeps.workers.launches import note_workers
from support.bench import Bench

TRIAL = "search-0007"


@pytest.fixture
def trial(bench: Bench) -> str:
    """A trial that was paused at a rung, by a worker that is gone."""
    bench.submit(TRIAL)
    key = f"runs/{TRIAL}/run.json"
    document = json.loads(bench.store.get(key))
    sweep = {"sweep_id": "search", "trial": 7, "parameters": {"training.learning_rate": 1e-3}}
    bench.store.put(key, json.dumps({**document, "sweep": sweep}).encode())
    attempt(bench, "", token="0001-aaaa", number=1, host="far", boot_id="another", pid=1)
    attempt(
        bench, "ended", token="0001-aaaa", exit_code=INTERRUPTED, reason="paused at step 3", paused=True, retry=False
    )
    return TRIAL


def attempt(bench: Bench, kind: str, **record: Any) -> None:
    name = f"0001{'.' + kind if kind else ''}.json"
    bench.store.create(f"runs/{TRIAL}/attempts/{name}", json.dumps(record).encode())


def test_a_trial_is_listed_like_a_run(bench: Bench, trial: str) -> None:
    done = bench.runner("ps", "--all", "--json")
    assert done.returncode == 0, done.stderr
    assert trial in done.stdout


def test_a_paused_trial_is_cancelled_at_once(bench: Bench, trial: str) -> None:
    done = bench.runner("cancel", trial)
    assert done.returncode == 0, done.stderr
    assert json.loads(bench.store.get(f"runs/{trial}/result.json"))["state"] == "cancelled"
    assert newest_launch(bench.store, trial) is None


def test_a_paused_trial_goes_on_beyond_its_sweep_if_it_is_asked_to(bench: Bench, trial: str) -> None:
    done = bench.runner("resume", trial, plan={"*": ["finish", 10]})
    assert done.returncode == 0, done.stderr
    assert "is trial 7 of the sweep search" in done.stderr
    assert json.loads(bench.store.get(f"runs/{trial}/result.json"))["state"] == "succeeded"


def test_a_trial_needs_the_variables_that_its_sweeps_workers_had(bench: Bench, trial: str) -> None:
    note_workers(bench.store, "search", {"infra": "local"}, engine="local", count=1, environment=["A_SECRET"])
    done = bench.runner("resume", trial, plan={"*": ["finish", 10]})
    assert done.returncode == 2
    assert "A_SECRET" in done.stderr
