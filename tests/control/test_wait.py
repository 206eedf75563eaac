"""Waiting ends when the run has, or when nobody is going to continue it."""

import json
import shutil
import socket
import time

import pytest

from runner.control import wait
from runner.control.wait import wait_for_end
from runner.process import boot_id
from runner.runs.launches import write_submission
from runner.runs.status import RunStatus, exit_code
from support.bench import Bench


def attempt(bench: Bench, *, here: bool, retry: bool | None) -> None:
    """An attempt that was killed (`retry` None), or ended interrupted."""
    host = {"host": socket.gethostname(), "boot_id": boot_id()} if here else {"host": "elsewhere", "boot_id": "b"}
    claim = {"token": "0001-aaaa", "number": 1, "pid": 2**22 - 3, **host}
    bench.store.create("runs/run/attempts/0001.json", json.dumps(claim).encode())
    if retry is not None:
        ended = {"token": "0001-aaaa", "exit_code": 75, "outcome": "interrupted", "reason": "x", "retry": retry}
        bench.store.create("runs/run/attempts/0001.ended.json", json.dumps(ended).encode())


def test_it_ends_with_the_run(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"pace": 0.1, "1": ["kill", 3]})
    assert wait_for_end(bench.store, "run").state == "succeeded"
    supervisor.wait()


def test_it_ends_at_once_where_the_supervisor_was_and_is_not_any_more(bench: Bench) -> None:
    bench.submit()
    attempt(bench, here=True, retry=None)
    assert wait_for_end(bench.store, "run").state == "interrupted"


def test_it_ends_at_once_if_the_run_needs_mending_first(bench: Bench) -> None:
    bench.submit()
    attempt(bench, here=False, retry=False)
    assert wait_for_end(bench.store, "run").state == "interrupted"


def test_it_gives_a_supervisor_elsewhere_time_to_start_the_run_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "RESTART_SECONDS", 1.0)
    bench.submit()
    attempt(bench, here=False, retry=True)
    began = time.monotonic()
    assert wait_for_end(bench.store, "run").state == "interrupted"
    assert time.monotonic() - began >= 1.0


def test_it_ends_at_once_for_a_run_whose_launch_here_was_cut_short(bench: Bench) -> None:
    bench.submit()
    write_submission(bench.store, "run", pid=1, environment=[])
    assert wait_for_end(bench.store, "run").state == "pending"


def test_it_ends_when_time_is_up(bench: Bench) -> None:
    bench.submit()
    lock = bench.lock("run")  # somebody is about to start it
    began = time.monotonic()
    assert wait_for_end(bench.store, "run", timeout_seconds=0.7).state == "pending"
    assert 0.6 < time.monotonic() - began < 120
    lock.close()


@pytest.mark.parametrize(
    ("state", "ended_with", "code"),
    [
        ("succeeded", 0, 0),
        ("failed", 1, 1),
        ("failed", 2, 2),
        ("failed", None, 1),
        ("cancelled", None, 1),
        ("interrupted", 2, 75),
        ("pending", None, 75),
        ("running", None, 75),
    ],
)
def test_a_state_is_an_exit_code(state: str, ended_with: int | None, code: int) -> None:
    status = RunStatus(
        run_id="r",
        recipe="r",
        state=state,  # type: ignore[arg-type]
        infra="local",
        created_at="",
        exit_code=ended_with,
    )
    assert exit_code(status) == code


@pytest.mark.parametrize("command", [["wait", "run"], ["logs", "-f", "run"], ["metrics", "-f", "run"]])
def test_a_run_that_is_deleted_is_no_longer_waited_for(bench: Bench, command: list[str]) -> None:
    bench.submit()
    lock = bench.lock("run")
    process = bench.start_runner(*command)
    time.sleep(2)
    shutil.rmtree(bench.folder / "store")
    output, error = process.communicate(timeout=60)
    lock.close()
    assert process.returncode == 1, error
    assert "runs/run/run.json is no longer in the store" in error
    assert "Traceback" not in output + error
