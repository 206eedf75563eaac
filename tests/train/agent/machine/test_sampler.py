"""Samples of a machine during an attempt, in the store."""

import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.support.fakes.memory_store import MemoryStore

from runner.runs.attempts import claim_attempt, write_restored
from runner.runs.measured.machine import read_machines
from runner.runs.measured.system import read_system
from runner.runs.record_types.measured import SystemRecord
from runner.storage.local import LocalStore
from runner.storage.store import StoreUnavailable
from runner.train.agent.machine.record import MachineWriter, installed_versions, machine_record
from runner.train.agent.machine.sampler import Thinning, sampled


def sample(at: float) -> SystemRecord:
    return {"time": at, "node": 0, "cpu_percent": 50.0, "memory_gib": 4.0, "memory_percent": 25.0}


def test_a_week_stays_below_2000_records_and_its_beginning_is_whole() -> None:
    thinning, records = Thinning(), []
    for index in range(7 * 24 * 720):
        record = thinning.add(sample(5.0 * index))
        records += [] if record is None else [record]
    assert len(records) < 2000
    assert sum(record["time"] <= 600 for record in records) == 121
    rest = thinning.rest()
    taken = sum(record.get("samples", 1) for record in records) + (0 if rest is None else rest.get("samples", 1))
    assert taken == 7 * 24 * 720


def test_all_machines_of_an_attempt_are_in_the_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    claim = claim_attempt(store, "r", {})
    write_restored(store, claim, None)
    with (
        sampled(store, "r", claim.token, node=0, folder=tmp_path, every_seconds=0.1),
        sampled(store, "r", claim.token, node=1, folder=tmp_path, every_seconds=0.1),
    ):
        time.sleep(0.8)
    records = read_system(store, "r")
    assert {record["node"] for record in records} == {0, 1}
    assert records == sorted(records, key=lambda record: record["time"])
    memory_gib = psutil.virtual_memory().total / 2**30
    assert all(0 < record["memory_gib"] < memory_gib and record["disk_gib_free"] > 0 for record in records)
    assert all("gpus" not in record or record["gpus"] for record in records)


def test_a_store_that_hangs_holds_the_end_up_for_seconds_only(tmp_path: Path) -> None:
    answers = threading.Event()

    def hang(request: str) -> Exception | None:
        if "system/" in request:
            answers.wait(30)
        return None

    began = time.monotonic()
    with sampled(MemoryStore(step=hang), "r", "0001-aaaa", node=0, folder=tmp_path, every_seconds=0.05):
        time.sleep(0.3)
    assert time.monotonic() - began < 6
    answers.set()


def test_neither_a_store_that_is_away_nor_an_error_of_the_system_ends_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    away = MemoryStore(step=lambda request: StoreUnavailable("away"))
    with sampled(away, "r", "0001-aaaa", node=0, folder=tmp_path, every_seconds=0.05):
        time.sleep(0.3)
    assert away.data == {}


def test_the_machine_is_recorded_with_all_that_is_installed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    claim = claim_attempt(store, "r", {})
    MachineWriter(store, claim).join(20)
    machine = read_machines(store, "r")[1]
    assert machine["versions"]["psutil"] == psutil.__version__
    assert machine["versions"] == installed_versions()
    assert machine["token"] == claim.token
    assert machine["cpus"] >= 1


def test_where_skypilot_found_the_machine_is_recorded() -> None:
    told = '{"cluster_name": "c", "cloud": "GCP", "region": "us-central1", "zone": null}'
    record = machine_record("0001-aaaa", {"SKYPILOT_CLUSTER_INFO": told, "RUNNER_IMAGE": "runner:cuda"})
    assert (record["infra"], record["region"], record["zone"]) == ("GCP", "us-central1", None)
    assert record["image"] == "runner:cuda"
    assert machine_record("0001-aaaa", {"SKYPILOT_CLUSTER_INFO": "?"})["region"] is None
