"""A run that hangs is told from one that trains, from the store alone."""

import json
import time
from typing import Any

import pytest

from runner.cli.output import run_row
from runner.control.wait import wait_for_end
from runner.runs.attempts import claim_attempt, write_heartbeat, write_restored
from runner.runs.status import run_status
from runner.storage.store import Store
from support.bench import Bench


def beating(store: Store, run_id: str, **heartbeat: Any) -> None:
    claim = claim_attempt(store, run_id, {"host": "elsewhere"})
    write_restored(store, claim, None)
    write_heartbeat(store, claim, {"phase": "training", "step": 7, "max_steps": 10, **heartbeat})


@pytest.mark.parametrize(
    ("heartbeat", "stalled"),
    [
        ({"idle_seconds": 20, "hang_seconds": 600}, None),
        ({"idle_seconds": 299, "hang_seconds": 600}, None),
        ({"idle_seconds": 480, "hang_seconds": 600}, "no step for 8 min"),
        ({"idle_seconds": 480, "hang_seconds": 6400}, None),
        ({"idle_seconds": 480, "hang_seconds": None}, "no step for 8 min"),
        ({"idle_seconds": 3600, "hang_seconds": 7200, "phase": "exporting"}, "no progress for 60 min"),
        ({}, None),
    ],
)
def test_a_run_without_progress_is_stalled_when_half_of_its_time_is_over(
    heartbeat: dict[str, Any], stalled: str | None, bench: Bench
) -> None:
    bench.submit()
    beating(bench.store, "run", **heartbeat)
    status = run_status(bench.store, "run")
    assert (status.state, status.stalled) == ("running", stalled)


def test_ps_lists_progress_and_says_that_there_is_none(bench: Bench) -> None:
    bench.submit()
    beating(bench.store, "run", idle_seconds=720, hang_seconds=1200, tokens=4096)
    done = bench.runner("ps", "--json")
    [row] = json.loads(done.stdout)
    assert (row["phase"], row["step"], row["tokens"], row["stalled"]) == ("training", 7, 4096, "no step for 12 min")
    assert row["idle_seconds"] >= 720
    assert row["last_sign_seconds"] < 60
    assert "running, no step for 12 min" in bench.runner("ps").stdout


def test_waiting_for_a_run_that_hangs_says_so_once(bench: Bench) -> None:
    bench.submit()
    beating(bench.store, "run", idle_seconds=720, hang_seconds=1200)
    said: list[str] = []
    began = time.monotonic()
    status = wait_for_end(bench.store, "run", timeout_seconds=3, say=said.append)
    assert time.monotonic() - began < 30
    assert run_row(status)["state"] == "running"
    assert said == [
        "run is running, but no step for 12 min (step 7, training); after 1200 s it is ended and tried again"
    ]
