"""A machine that lists a bucket for the first time reads what others have read, and is never wrong about a run."""

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from runner.control.keeping.rm import plan_removal, remove
from runner.paths import listing_cache
from runner.runs.layout import LISTED
from runner.runs.listing import list_runs
from runner.runs.record_types.listed import ListedRun
from runner.runs.remembered.ended import EndedRuns
from runner.runs.remembered.shared import EVERY, write_shared
from runner.runs.status import RunStatus
from runner.storage.open import open_store
from runner.storage.store import NotFound, Store
from support.servers.s3 import BUCKET, S3Server

COUNT = 70
"""More than are read one by one without a question."""


def run_id(number: int) -> str:
    return f"small-20260101-{number:06d}-abcd"


def fill(store: Store, numbers: range, state: str = "succeeded") -> None:
    for number in numbers:
        document = {
            "run_id": run_id(number),
            "name": "small",
            "recipe": {"name": "small", "training": {"max_steps": 10}},
            "settings": {},
            "digest": "d",
            "infra": "local",
            "accelerators": None,
            "created_at": "2026-01-01T00:00:00+00:00",
        }
        result = {"state": state, "reason": None, "attempts": 1, "step": 10, "max_steps": 10}
        store.put(f"runs/{run_id(number)}/run.json", json.dumps(document).encode())
        store.put(f"runs/{run_id(number)}/result.json", json.dumps(result).encode())


@pytest.fixture
def bucket(use_server: Callable[[str], S3Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket with runs that have ended, the first of which has failed, and which it remembers."""
    use_server("ministack")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "this machine"))
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")
    fill(store, range(1), "failed")
    fill(store, range(1, COUNT))
    write_shared(store, list_runs(store), before=-1)  # as if the last of hundreds had just ended
    return store


@pytest.fixture
def another_machine(bucket: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """A function that lists the bucket as a machine does that has never seen it: states by run."""

    def states() -> dict[str, str]:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / uuid4().hex))
        return {run.run_id: run.state for run in list_runs(bucket)}

    return states


def test_another_machine_need_not_read_the_runs(bucket: Store, another_machine: Callable[[], dict[str, str]]) -> None:
    bucket.delete([f"runs/{run_id(7)}/result.json"])  # never happens; it shows that nobody looks again
    assert another_machine() == {run_id(0): "failed"} | {run_id(number): "succeeded" for number in range(1, COUNT)}
    assert len(EndedRuns(listing_cache(bucket.url)).read()) == COUNT, "and now it remembers them itself"


def test_a_listing_of_many_writes_it_and_one_of_few_does_not(bucket: Store) -> None:
    bucket.delete([LISTED])
    list_runs(bucket)
    with pytest.raises(NotFound):
        bucket.get(LISTED)
    fill(bucket, range(COUNT, EVERY + 1))
    list_runs(bucket)
    assert len(json.loads(gzip.decompress(bucket.get(LISTED)))["runs"]) == EVERY + 1


def test_what_has_happened_since_shows_at_once(bucket: Store, another_machine: Callable[[], dict[str, str]]) -> None:
    """A failed run that its owner has gone on with, one that was deleted, one that is being deleted, and a new one."""
    reopened = {"number": 1, "reopened_at": "2026-01-02T00:00:00+00:00", "attempts": 1, "reason": None}
    bucket.put(f"runs/{run_id(0)}/reopened/0001.json", json.dumps(reopened).encode())
    bucket.delete([info.key for info in bucket.objects(f"runs/{run_id(1)}/")])
    bucket.put(f"removing/runs/{run_id(2)}.json", b"{}")
    fill(bucket, range(COUNT, COUNT + 1), "cancelled")
    states = another_machine()
    assert states.pop(run_id(0)) in ("pending", "interrupted")
    assert states.pop(run_id(COUNT)) == "cancelled"
    assert states == {run_id(number): "succeeded" for number in range(3, COUNT)}


def test_a_name_that_is_used_again_is_read_again(bucket: Store, another_machine: Callable[[], dict[str, str]]) -> None:
    """What the store remembers is of the run that had the name before."""
    remembered = json.loads(gzip.decompress(bucket.get(LISTED)))
    row = next(row for row in remembered["runs"] if row["run_id"] == run_id(5))
    remembered["runs"].append({**row, "run_id": "nightly", "created_at": "2025-01-01T00:00:00+00:00"})
    bucket.put(LISTED, gzip.compress(json.dumps(remembered).encode()))
    document = json.loads(bucket.get(f"runs/{run_id(5)}/run.json"))
    bucket.put("runs/nightly/run.json", json.dumps({**document, "run_id": "nightly"}).encode())
    assert another_machine()["nightly"] == "pending"


def test_a_deleted_run_leaves_no_trace_there(bucket: Store) -> None:
    assert run_id(9).encode() in gzip.decompress(bucket.get(LISTED))
    remove(bucket, plan_removal(bucket, [run_id(9)]))
    assert run_id(9).encode() not in gzip.decompress(bucket.get(LISTED))
    assert run_id(8).encode() in gzip.decompress(bucket.get(LISTED))


def _with(**fields: object) -> Callable[[dict[str, list[dict[str, object]]]], object]:
    def spoil(document: dict[str, list[dict[str, object]]]) -> object:
        document["runs"] = [{**row, **fields} for row in document["runs"]]
        return document

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: [],
        lambda document: {**document, "fields": ["run_id"]},
        lambda document: {**document, "runs": [None, 1, {}]},
        _with(state="running"),
        _with(reason="\x1b[2J"),
        _with(created_at="yesterday"),
        _with(step="ten"),
        _with(nonsense=1),
    ],
    ids=["no map", "another version", "no entries", "not ended", "not printable", "no time", "no number", "unknown"],
)
def test_what_makes_no_sense_there_is_read_from_the_records(
    bucket: Store,
    another_machine: Callable[[], dict[str, str]],
    spoil: Callable[[dict[str, list[dict[str, object]]]], object],
) -> None:
    document = json.loads(gzip.decompress(bucket.get(LISTED)))
    bucket.put(LISTED, gzip.compress(json.dumps(spoil(document)).encode()))
    bucket.put(f"runs/{run_id(3)}/result.json", json.dumps({"state": "cancelled", "attempts": 1}).encode())
    assert another_machine()[run_id(3)] == "cancelled"


@pytest.mark.parametrize("data", [b"", b"no gzip", gzip.compress(b"{")[:-4], gzip.compress(b"\xff")])
def test_damage_to_it_costs_only_speed(
    bucket: Store, another_machine: Callable[[], dict[str, str]], data: bytes
) -> None:
    bucket.put(LISTED, data)
    assert len(another_machine()) == COUNT


def test_all_that_a_listing_shows_of_an_ended_run_is_remembered() -> None:
    """A field that is new in `RunStatus` and follows from a result belongs into `ListedRun`."""
    of_the_living = {
        *("phase", "loss", "tokens_per_second", "eta_seconds", "checkpoint_step", "tokens", "cost_per_hour"),
        *("idle_seconds", "hang_seconds", "message", "last_sign_seconds", "here", "capped", "paused"),
    }
    names = {field.name for field in dataclasses.fields(RunStatus)}
    assert names - of_the_living == ListedRun.__required_keys__ | ListedRun.__optional_keys__
