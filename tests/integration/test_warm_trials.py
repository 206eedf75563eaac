"""A trial that is forked from a process that has imported everything is like one in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.runs.layout import run_key
from runner.runs.metrics import read_metrics
from runner.storage.local import LocalStore
from runner.train import entrypoint
from runner.train.agent.setup import Process, Spawn
from runner.train.agent.warm.processes import WarmProcesses
from support.runs import assert_same, outcome, recipe, submit

ARGUMENTS = ["--store", "nowhere", "--run", "r", "--work-dir", "w", "--cache-dir", "c", "--local-rank", "0"]

AGENT = """
import os, sys, time
from runner.train.agent.warm.processes import WarmProcesses
warm = WarmProcesses(None)
assert warm.wait_until_ready()
read, write = os.pipe()
arguments = [*%r, "--events", str(write), "--parent", str(os.getpid())]
process = warm(arguments, write)
print(warm._server.pid, process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmProcesses]:
    def fresh(arguments: Any, events: int, /) -> Process:
        raise AssertionError("it was to be warm")

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    processes = WarmProcesses(fresh)
    assert processes.wait_until_ready(), "the server says why"
    yield processes
    processes.close()


def start(spawn: Spawn) -> tuple[Process, int]:
    """Start a process that waits for its assignment; return the end of the pipe with its events too."""
    read, write = os.pipe()
    process = spawn([*ARGUMENTS, "--events", str(write), "--parent", str(os.getpid())], write)
    os.close(write)
    assert b"importing torch" in os.read(read, 1000)
    return process, read


def train(store: LocalStore, folder: Path, run_id: str, spawn: Spawn) -> dict[str, Any]:
    """Pause in the middle, then train to the end."""
    assert entrypoint.run_attempt(store, run_id, folder / run_id, spawn=spawn, until_step=4) == 75
    assert entrypoint.run_attempt(store, run_id, folder / run_id, spawn=spawn) == 0
    return outcome(store, run_id)


def test_it_ends_with_the_same_weights_and_metrics_as_in_new_processes(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    """Also the second of two, and after another one."""
    store = LocalStore(tmp_path / "store")
    what = recipe(data, adapter=True)
    for run_id in ("new", "warm-1", "warm-2"):
        submit(store, run_id, what)
    submit(store, "other", recipe(data, adapter=False, seed=8))
    expected = train(store, tmp_path, "new", entrypoint.start_worker)
    assert_same(train(store, tmp_path, "warm-1", warm), expected)
    assert entrypoint.run_attempt(store, "other", tmp_path / "other", spawn=warm, until_step=1) == 75
    assert_same(train(store, tmp_path, "warm-2", warm), expected)


def test_with_rows_that_an_earlier_trial_has_prepared_it_ends_with_the_same_weights_and_metrics(
    data: Path, tmp_path: Path
) -> None:
    """Also packed, and after another trial whose rows are cut elsewhere."""
    store = LocalStore(tmp_path / "store")
    warm = WarmProcesses(entrypoint.start_worker, kept_rows=tmp_path / "rows")
    try:
        assert warm.wait_until_ready(), "the server says why"
        for name, changes in {"cut": {}, "shorter": {"max_length": 24}, "packed": {"packing": True}}.items():
            for kind in ("new", "first", "second"):
                submit(store, f"{name}-{kind}", recipe(data, adapter=True, learning_rate=1e-3, **changes))
            expected = train(store, tmp_path, f"{name}-new", entrypoint.start_worker)
            assert_same(train(store, tmp_path, f"{name}-first", warm), expected)
            before = set((tmp_path / "rows").iterdir())
            assert_same(train(store, tmp_path, f"{name}-second", warm), expected)
            assert set((tmp_path / "rows").iterdir()) == before, "it has prepared them again"
    finally:
        warm.close()


def test_what_it_prints_and_why_it_failed_come_as_from_a_new_process(
    warm: WarmProcesses, data: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    what = recipe(data, adapter=True, max_length=4)
    submit(store, "fails", what)
    code = entrypoint.run_attempt(store, "fails", tmp_path / "fails", spawn=warm)
    result = json.loads(store.get(run_key("fails", "result.json")))
    assert (code, result["state"]) == (2, "failed"), result
    assert not read_metrics(store, "fails")


def test_it_has_streams_a_group_and_signals_of_its_own(warm: WarmProcesses) -> None:
    process, events = start(warm)
    assert os.getpgid(process.pid) == process.pid
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)
    process.send_signal(signal.SIGQUIT)
    stacks = process.stdout.readline() + process.stdout.readline()
    assert b"most recent call first" in stacks
    process.send_signal(signal.SIGTERM)
    process.stdin.close()  # what a handler raises while garbage is collected is dropped; it ends at its next look then
    assert process.wait(timeout=20) == 75
    assert b'"outcome": "interrupted"' in os.read(events, 5000)
    assert process.poll() == 75
    process.kill()  # nobody is there any more
    killed, _ = start(warm)
    killed.kill()
    assert killed.wait(timeout=20) == -signal.SIGKILL
    assert killed.stdout.read() == b""


def test_when_the_agent_is_killed_nothing_of_it_stays() -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT % ARGUMENTS], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    pids = [int(pid) for pid in agent.stdout.readline().split()]
    assert len(pids) == 2
    agent.kill()
    agent.wait()
    until = time.monotonic() + 10
    while any(runs(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(runs(pid) for pid in pids)


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_variable_that_libraries_read_when_they_load_is_not_left_as_it_was(
    warm: WarmProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others reach the fork as they are now: pytest's own differs in each test."""
    monkeypatch.setenv("HF_HOME", "/elsewhere")
    with pytest.raises(AssertionError, match="it was to be warm"):
        start(warm)


def test_without_its_server_trials_start_in_new_processes_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def fresh(arguments: Any, events: int, /) -> Process:
        process = subprocess.Popen(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process.pid)
        return process

    warm = WarmProcesses(fresh)
    assert warm.wait_until_ready()
    process, _ = start(warm)
    warm._server.kill()
    assert process.wait(timeout=20) == -signal.SIGKILL, "it dies with it"
    _, write = os.pipe()
    for _ in range(2):
        warm([*ARGUMENTS, "--events", str(write), "--parent", "1"], write)
    assert len(started) == 2
    assert [record.getMessage() for record in caplog.records if "new processes" in record.getMessage()][1:] == []
    assert "new processes" in caplog.text
    assert not warm.wait_until_ready()
