"""The workers of a sweep on this machine: as many as its GPUs give, and none left when they are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.backends.base import Placement, Reporter
from runner.backends.local.slot_workers import workers_logs
from runner.backends.local.slots import Slot, find_devices, make_slots
from runner.backends.local.workers import LocalWorkers
from runner.backends.registry import worker_backend_for
from runner.backends.workers import SweepWorkers
from runner.errors import UserError
from runner.paths import sweep_folder
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.sweeps.workers.launches import WorkersLaunch, needed_worker_environment, worker_launches
from support.paths import TESTS

START = """
import sys, time
from support.fakes.fake_worker import main
from runner.backends.base import Placement, Reporter
from runner.backends.local.workers import LocalWorkers
from runner.backends.workers import SweepWorkers
from runner.storage.open import open_store
backend = LocalWorkers()
backend.module = "support.fakes.fake_worker"
store = open_store(sys.argv[1])
workers = SweepWorkers(sweep_id="search", placement=Placement(infra="local"), count=2)
request = backend.request(store.url, workers, environment=[])
backend.start(store, request, environment={}, detach=sys.argv[2] == "detach", reporter=Reporter(say=print))
time.sleep(60)
"""


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, at most 30 s."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def backend(store: Store) -> Iterator[LocalWorkers]:
    backend = worker_backend_for("local")
    assert isinstance(backend, LocalWorkers)
    backend.module = "support.fakes.fake_worker"
    yield backend
    for launch in worker_launches(store, "search"):
        if launch.ended is None and launch.is_from_here:
            backend.stop(store, launch, say=print, timeout_seconds=0)


def start(backend: LocalWorkers, store: Store, said: list[str] | None = None, **asked: Any) -> WorkersLaunch:
    """Start workers that outlive nothing, and wait until each is at work."""
    workers = SweepWorkers(sweep_id="search", placement=Placement(infra="local"), **asked)
    request = backend.request(store.url, workers, environment=["A_SECRET"])
    reporter = Reporter(say=(said if said is not None else []).append)
    launch = backend.start(store, request, environment={"A_SECRET": "hush"}, detach=False, reporter=reporter)
    until(lambda: len(given(store)) == request.count)
    return launch


def given(store: Store) -> list[dict[str, Any]]:
    """What each worker was given."""
    files = sorted((sweep_folder(store.url, "search") / "work").glob("slot-*/given.json"))
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.parametrize(
    ("devices", "asked", "slots"),
    [
        ([], {}, [None]),
        ([], {"workers": 3}, [None, None, None]),
        (["0", "1"], {}, [("0",), ("1",)]),
        (["0", "1"], {"trials_per_gpu": 2}, [("0",), ("1",), ("0",), ("1",)]),
        (["0", "1"], {"trials_per_gpu": 2, "workers": 3}, [("0",), ("1",), ("0",)]),
        (["4", "5", "6", "7", "8"], {"gpus_per_trial": 2}, [("4", "5"), ("6", "7")]),
        (["GPU-1", "GPU-2"], {"workers": 1}, [("GPU-1",)]),
    ],
)
def test_a_machine_is_split_into_slots(devices: list[str], asked: dict[str, int], slots: list[Any]) -> None:
    assert [slot.devices for slot in make_slots(devices, **asked)] == slots


@pytest.mark.parametrize(
    ("devices", "asked", "words"),
    [
        (["0"], {"gpus_per_trial": 2}, "has 1 GPUs, and a trial needs 2"),
        (["0", "1"], {"gpus_per_trial": 2, "trials_per_gpu": 2}, "several trials share one"),
        (["0", "1"], {"workers": 3}, "room for 2 workers, not for 3"),
        ([], {"gpus_per_trial": 1}, "no GPU"),
        ([], {"workers": 0}, "0 workers"),
    ],
)
def test_what_a_machine_cannot_give_is_refused(devices: list[str], asked: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_slots(devices, **asked)


def test_the_devices_are_those_that_the_caller_left_visible() -> None:
    assert find_devices({"CUDA_VISIBLE_DEVICES": "3, GPU-aa"}) == ["3", "GPU-aa"]
    assert find_devices({"CUDA_VISIBLE_DEVICES": ""}) == find_devices({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_a_slot_gets_its_devices_and_its_share_of_the_processors() -> None:
    mine = Slot(number=0, devices=("1",)).environment(2, {"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/"})
    assert mine["CUDA_VISIBLE_DEVICES"] == "1"
    assert mine["RUNNER_SLOTS"] == "2"
    assert int(mine["OMP_NUM_THREADS"]) == max(1, len(os.sched_getaffinity(0)) // 2)
    assert Slot(number=0, devices=None).environment(2, {"OMP_NUM_THREADS": "7"})["OMP_NUM_THREADS"] == "7"


def test_workers_are_started_and_stopped_and_none_is_left(backend: LocalWorkers, store: Store) -> None:
    said: list[str] = []
    launch = start(backend, store, said, count=2, idle_minutes=3)
    assert [(one["store"], one["sweep"], one["idle_minutes"]) for one in given(store)] == [(store.url, "search", 3)] * 2
    assert {one["secret"] for one in given(store)} == {"hush"}
    assert said == [f"2 workers on this machine; what they print is in {workers_logs(store.url, launch)}"]
    assert backend.status(store, launch).alive == 2
    assert needed_worker_environment(store, "search") == ["A_SECRET"]
    assert b"hush" not in b"".join(store.get(info.key) for info in store.objects("sweeps/"))
    status = backend.stop(store, launch, say=print, timeout_seconds=20)
    assert status.ended
    assert not any(runs(one["pid"]) for one in given(store))
    (seen,) = worker_launches(store, "search")
    assert seen.ended is not None
    assert "at work" in (workers_logs(store.url, launch) / "slot-1.log").read_text()


def test_a_worker_that_does_not_react_is_killed(
    backend: LocalWorkers, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", "deaf")
    launch = start(backend, store, count=2)
    said: list[str] = []
    assert backend.stop(store, launch, say=said.append, timeout_seconds=0.5).ended
    until(lambda: not any(runs(one["pid"]) for one in given(store)))
    assert "killing them" in said[0]


def test_a_worker_that_was_killed_is_started_again(backend: LocalWorkers, store: Store) -> None:
    launch = start(backend, store, count=2)
    first = given(store)[0]["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: given(store)[0]["pid"] != first)
    assert backend.status(store, launch).alive == 2
    assert "was killed" in (workers_logs(store.url, launch) / "workers.log").read_text()


def test_workers_that_find_nothing_to_do_end_by_themselves(
    backend: LocalWorkers, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", "end")
    launch = start(backend, store, count=2)
    until(lambda: backend.status(store, launch).ended)
    assert worker_launches(store, "search")[0].ended is not None


def test_each_launch_of_workers_has_a_record(backend: LocalWorkers, store: Store) -> None:
    start(backend, store, count=1)
    start(backend, store, count=1)
    assert [launch.record["name"] for launch in worker_launches(store, "search")] == [
        "search-workers",
        "search-workers-2",
    ]


def test_workers_of_another_machine_are_not_taken_for_ended(backend: LocalWorkers, store: Store) -> None:
    launch = start(backend, store, count=1)
    key = "sweeps/search/launches/0001.json"
    record = json.loads(store.get(key))
    store.put(key, json.dumps({**record, "boot_id": "another", "host": "gpu-box"}).encode())
    (elsewhere,) = worker_launches(store, "search")
    with pytest.raises(UserError, match="gpu-box"):
        backend.status(store, elsewhere)
    assert backend.stop(store, launch, say=print, timeout_seconds=20).ended


@pytest.mark.parametrize("how", ["attended", "detach"])
def test_attended_workers_die_with_who_started_them_and_detached_ones_do_not(
    backend: LocalWorkers, store: Store, how: str
) -> None:
    starter = subprocess.Popen([sys.executable, "-c", START, store.url, how], stdout=subprocess.DEVNULL)
    until(lambda: len(given(store)) == 2)
    until(lambda: bool(worker_launches(store, "search")) and worker_launches(store, "search")[0].started is not None)
    (launch,) = worker_launches(store, "search")
    starter.kill()
    starter.wait()
    if how == "attended":
        until(lambda: not any(runs(one["pid"]) for one in given(store)))
        until(lambda: backend.status(store, launch).ended)
    else:
        time.sleep(0.5)
        assert all(runs(one["pid"]) for one in given(store))
        assert backend.stop(store, launch, say=print, timeout_seconds=20).ended
        assert not any(runs(one["pid"]) for one in given(store))
