"""A run's state follows from the records in its store, and from the process if that is here."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runner.control.launching.reuse import find_interrupted_run
from runner.process import boot_id, process_runs
from runner.runs.launches import note_launch
from runner.runs.liveness import newest_attempt
from runner.runs.status import run_status
from runner.storage.local import LocalStore
from runner.storage.store import NotFound
from support.bench import Bench

HERE = {"host": socket.gethostname(), "boot_id": boot_id()}
ELSEWHERE = {"host": "elsewhere", "boot_id": "another"}


def write(bench: Bench, number: int, kind: str = "", *, age_seconds: float = 0.0, **record: Any) -> None:
    key = f"runs/run/attempts/{number:04d}{'.' + kind if kind else ''}.json"
    bench.store.put(key, json.dumps({"token": f"{number:04d}-aaaa", "number": number, **record}).encode())
    assert isinstance(bench.store, LocalStore)
    then = time.time() - age_seconds
    os.utime(bench.store.root / key, (then, then))


def sleeping(*arguments: str) -> "subprocess.Popen[bytes]":
    """A living process with these arguments. The kernel shows a command line a moment after the program has begun."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *arguments])
    while arguments and not process_runs(sleeper.pid, arguments[-1]):
        time.sleep(0.01)
    return sleeper


@pytest.fixture
def process() -> Iterator[int]:
    """A living process that has the run's id in its command line, as an attempt has."""
    sleeper = sleeping("--run", "run")
    yield sleeper.pid
    sleeper.kill()
    sleeper.wait()


def test_a_trial_lives_as_long_as_the_worker_of_its_sweep_that_has_it(bench: Bench) -> None:
    """The worker takes many trials: its command line names the sweep."""
    bench.submit("search-0007")
    worker = sleeping("--sweep", "search")
    claim = {"token": "0001-aaaa", "number": 1, **HERE, "pid": worker.pid}
    bench.store.put("runs/search-0007/attempts/0001.json", json.dumps(claim).encode())
    status = run_status(bench.store, "search-0007")
    assert (status.state, status.here) == ("running", True)
    worker.kill()
    worker.wait()
    assert run_status(bench.store, "search-0007").state == "interrupted"


def test_a_run_without_attempts_is_pending(bench: Bench) -> None:
    bench.submit()
    status = run_status(bench.store, "run")
    assert (status.state, status.attempts, status.max_steps, status.recipe) == ("pending", 0, 10, "small")


def test_a_fresh_heartbeat_from_elsewhere_means_running(bench: Bench) -> None:
    bench.submit()
    write(bench, 1, **ELSEWHERE, pid=1, age_seconds=900)
    write(bench, 1, "heartbeat", age_seconds=50, phase="training", step=3, max_steps=9, loss=2.0, checkpoint_step=2)
    status = run_status(bench.store, "run")
    assert (status.state, status.step, status.max_steps, status.loss) == ("running", 3, 9, 2.0)
    assert status.last_sign_seconds == pytest.approx(50, abs=5)
    assert not status.here


def test_a_stale_heartbeat_from_elsewhere_means_interrupted(bench: Bench) -> None:
    bench.submit()
    write(bench, 1, **ELSEWHERE, pid=1, age_seconds=900)
    write(bench, 1, "heartbeat", age_seconds=70, step=3)
    status = run_status(bench.store, "run")
    assert (status.state, status.step) == ("interrupted", 3)
    assert "vanished" in (status.reason or "")


def test_a_claim_counts_as_a_sign_of_life(bench: Bench) -> None:
    """An attempt that restores a large checkpoint has claimed and has no heartbeat yet."""
    bench.submit()
    write(bench, 1, **ELSEWHERE, pid=1)
    assert run_status(bench.store, "run").state == "running"


def test_on_this_machine_the_process_decides(bench: Bench, process: int) -> None:
    """A process that lives is alive however old its heartbeat is, and one that is gone is dead however fresh."""
    bench.submit()
    write(bench, 1, **HERE, pid=process, age_seconds=900)
    write(bench, 1, "heartbeat", age_seconds=900)
    assert run_status(bench.store, "run").state == "running"
    assert run_status(bench.store, "run").here
    write(bench, 2, **HERE, pid=2**22 - 3)
    write(bench, 2, "heartbeat")
    assert run_status(bench.store, "run").state == "interrupted"


def test_a_process_id_that_another_program_has_now_is_no_sign_of_life(bench: Bench) -> None:
    bench.submit()
    write(bench, 1, **HERE, pid=os.getppid())
    write(bench, 1, "heartbeat")
    assert run_status(bench.store, "run").state == "interrupted"


def test_an_attempt_that_ended_says_why(bench: Bench) -> None:
    bench.submit()
    write(bench, 1, **ELSEWHERE, pid=1)
    write(bench, 1, "heartbeat")
    write(bench, 1, "ended", exit_code=75, outcome="interrupted", reason="the disk is full", retry=False)
    status = run_status(bench.store, "run")
    assert (status.state, status.reason, status.retry) == ("interrupted", "the disk is full", False)


def test_the_newest_attempt_counts(bench: Bench) -> None:
    bench.submit()
    for number in (9, 10, 11):
        write(bench, number, **ELSEWHERE, pid=number)
    bench.store.put("runs/run/attempts/notes.txt", b"no record of ours")
    newest = newest_attempt(bench.store, "run")
    assert newest is not None
    assert newest.number == 11


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_result_is_the_last_word(bench: Bench, state: str) -> None:
    bench.submit()
    write(bench, 1, **ELSEWHERE, pid=1)
    write(bench, 1, "heartbeat")
    result = {"state": state, "reason": "because", "attempts": 1, "step": 4, "max_steps": 9, "ended_at": "then"}
    bench.store.create("runs/run/result.json", json.dumps(result).encode())
    status = run_status(bench.store, "run")
    assert (status.state, status.reason, status.step, status.ended_at) == (state, "because", 4, "then")
    assert status.terminal


@pytest.mark.parametrize(("attempts", "infra"), [(1, "local"), (2, "aws/us-east-1")])
def test_a_run_that_went_on_elsewhere_has_ended_there(bench: Bench, attempts: int, infra: str) -> None:
    """A run that was begun but once has not moved, and its launches are not looked at."""
    bench.submit()
    note_launch(bench.store, "run", {"infra": "aws/us-east-1", "accelerators": {"T4": 1}})
    bench.store.create("runs/run/result.json", json.dumps({"state": "succeeded", "attempts": attempts}).encode())
    status = run_status(bench.store, "run")
    assert (status.state, status.infra) == ("succeeded", infra)
    assert status.accelerators == ({"T4": 1} if attempts == 2 else None)


def test_a_run_that_is_not_there_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound):
        run_status(bench.store, "nothing")


def test_a_paused_trial_is_neither_failing_nor_waiting_for_anybody(bench: Bench) -> None:
    bench.submit()
    write(bench, 1, **ELSEWHERE, pid=1)
    reason = "paused at step 30, as its sweep asked"
    write(bench, 1, "ended", exit_code=75, outcome="interrupted", reason=reason, retry=False, paused=True)
    status = run_status(bench.store, "run")
    assert (status.state, status.shown_state, status.paused) == ("interrupted", "paused", True)
    assert find_interrupted_run(bench.store, "run", "digest") is None
    waited = bench.runner("wait", "run")
    assert waited.returncode == 75
    assert reason in waited.stderr
    assert "resume" not in waited.stderr
    assert "paused" in bench.runner("ps").stdout
    assert json.loads(bench.runner("ps", "--json").stdout)[0]["paused"] is True
    write(bench, 2, **ELSEWHERE, pid=1)
    assert not run_status(bench.store, "run").paused
