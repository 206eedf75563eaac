"""A run that somebody cancels ends, whoever works on it or nobody."""

import json

import pytest

from runner.backends.local import supervised
from runner.control.cancel import cancel_run
from runner.errors import UserError
from runner.runs.records import run_result
from runner.runs.status import run_status
from support.bench import Bench, gone, wait_until


def cancelled(bench: Bench, timeout_seconds: float = 20) -> str:
    return cancel_run(bench.store, "run", say=lambda sentence: None, timeout_seconds=timeout_seconds).state


def test_a_running_run_is_cancelled_by_its_attempt(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"pace": 0.2})
    pids = bench.pids()
    assert cancelled(bench) == "cancelled"
    assert supervisor.wait(120) == 1
    assert all(map(gone, pids))
    result = run_result(bench.store, "run")
    assert result is not None
    assert result["reason"] == "cancelled by the stand-in"


@pytest.mark.parametrize("plan", [None, {"1": ["stop", 3]}])
def test_a_run_that_nobody_works_on_is_cancelled_here(bench: Bench, plan: dict[str, object] | None) -> None:
    """Pending or interrupted."""
    bench.submit()
    if plan:
        bench.supervise("run", plan)
    assert cancelled(bench) == "cancelled"
    result = run_result(bench.store, "run")
    assert result is not None
    assert result["step"] == (3 if plan else None)


def test_an_attempt_that_is_deaf_is_stopped_through_its_supervisor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "PATIENCE_SECONDS", 0.5)
    bench.submit()
    supervisor = bench.start_supervisor("run", {"1": ["hang", 2], "deaf": True}, grace_seconds=0.5)
    pids = bench.pids()
    assert cancelled(bench) == "cancelled"
    assert supervisor.wait(120) == 1
    wait_until(lambda: all(map(gone, pids)))


def test_cancelling_twice_is_no_mistake(bench: Bench) -> None:
    bench.submit()
    assert cancelled(bench) == "cancelled"
    assert cancelled(bench) == "cancelled"


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_a_run_that_has_ended_otherwise_stays_as_it_is(bench: Bench, state: str) -> None:
    bench.submit()
    bench.store.create("runs/run/result.json", json.dumps({"state": state}).encode())
    with pytest.raises(UserError, match=state):
        cancelled(bench)
    assert run_status(bench.store, "run").state == state


def test_a_run_elsewhere_is_asked_and_waited_for(bench: Bench) -> None:
    """Its attempt is alive and has not reacted yet when time is up."""
    bench.submit()
    claim = {"token": "0001-aaaa", "number": 1, "host": "elsewhere", "boot_id": "b", "pid": 1}
    bench.store.create("runs/run/attempts/0001.json", json.dumps(claim).encode())
    assert cancelled(bench, timeout_seconds=1.0) == "running"
    assert json.loads(bench.store.get("runs/run/cancel.json"))["requested_at"]


def test_a_run_that_keeps_its_model_ends_with_one(bench: Bench) -> None:
    bench.submit("try")
    supervisor = bench.start_supervisor("try", {"pace": 0.2})
    wait_until(lambda: (run_status(bench.store, "try").step or 0) >= 2)
    done = bench.runner("cancel", "try", "--keep-model")
    assert done.returncode == 0, done
    assert supervisor.wait(60) == 1
    result = run_result(bench.store, "try")
    assert result is not None
    assert (result["state"], set(result["artifacts"])) == ("cancelled", {"model"})
    again = bench.runner("cancel", "try", "--keep-model")
    assert (again.returncode, "been cancelled already" in again.stderr) == (2, True), again


def test_a_run_that_nothing_runs_cannot_make_a_model_by_itself(bench: Bench) -> None:
    bench.submit("try")
    bench.supervise("try", {"1": ["stop", 3]})
    done = bench.runner("cancel", "try", "--keep-model")
    assert done.returncode == 2, done
    assert "runner export try --checkpoint last" in done.stderr
    assert run_status(bench.store, "try").state == "interrupted"
