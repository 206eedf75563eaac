"""Of the time that was paid for, what led to the checkpoints that a run goes on from, and to its end."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.runs.attempts import Claim, claim_attempt, write_ended, write_restored
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.measured.prices import stated_price
from runner.runs.measured.spending import write_price
from runner.runs.measured.useful import spending_with_use
from runner.storage.local import LocalStore

BEGUN = datetime(2026, 11, 1, 10, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def attempt(
    store: LocalStore,
    *,
    at: float,
    seconds: float,
    outcome: str,
    steps: range = range(0),
    first_step_after: float = 0,
    restored: CheckpointName | None = None,
    nodes: int = 1,
) -> Claim:
    """An attempt that takes a step every 10 seconds."""
    begun = BEGUN + timedelta(seconds=at)
    claim = claim_attempt(store, "run", {"started_at": begun.isoformat(), "nodes": nodes})
    write_price(store, claim, stated_price(3600.0))
    write_restored(store, claim, restored)
    chunks = ChunkWriter(store, "run", "metrics", claim.token)
    for index, step in enumerate(steps):
        moment = begun.timestamp() + first_step_after + 10 * index
        chunks.append(json.dumps({"kind": "train", "stage": "sft", "step": step, "time": moment}) + "\n")
    chunks.flush()
    write_ended(store, claim, {"ended_at": (begun + timedelta(seconds=seconds)).isoformat(), "outcome": outcome})
    return claim


def saved(store: LocalStore, claim: Claim, step: int) -> CheckpointName:
    name = CheckpointName("sft", step, claim.token)
    store.create(checkpoint_prefix("run", name) + "manifest.json", b"{}")
    return name


def useful(store: LocalStore) -> list[float | None]:
    return [spent.useful_seconds for spent in spending_with_use(store, "run").attempts]


def test_all_of_a_run_that_needed_one_attempt_was_useful(store: LocalStore) -> None:
    attempt(store, at=0, seconds=500, outcome="succeeded", steps=range(1, 11), first_step_after=60)
    assert useful(store) == [500]


def test_lost_steps_and_a_second_start_are_not_useful(store: LocalStore) -> None:
    """The first is killed in step 8 after a checkpoint of step 5; the second starts for 100 s, and ends in order."""
    first = attempt(store, at=0, seconds=140, outcome="interrupted", steps=range(1, 9), first_step_after=60)
    name = saved(store, first, 5)
    attempt(
        store,
        at=200,
        seconds=210,
        outcome="succeeded",
        steps=range(6, 11),
        first_step_after=110,
        restored=name,
        nodes=2,
    )
    assert useful(store) == [100, 110], "to step 5; and steps 6 to 10 with what comes after them"
    spent = spending_with_use(store, "run")
    assert (spent.useful_machine_seconds, spent.machine_seconds) == (100 + 2 * 110, 140 + 2 * 210)
    assert (spent.useful_dollars, spent.dollars) == (pytest.approx(320), pytest.approx(560))


def test_an_attempt_that_nobody_goes_on_from_was_of_no_use(store: LocalStore) -> None:
    first = attempt(store, at=0, seconds=100, outcome="interrupted", steps=range(1, 5), first_step_after=50)
    name = saved(store, first, 2)
    attempt(store, at=200, seconds=90, outcome="interrupted", steps=range(3, 5), first_step_after=40, restored=name)
    attempt(store, at=300, seconds=90, outcome="succeeded", steps=range(3, 7), first_step_after=40, restored=name)
    assert useful(store) == [60, 0, 60]


@pytest.mark.parametrize("outcome", ["interrupted", "failed"])
def test_what_is_interrupted_or_failed_was_useful_up_to_its_last_checkpoint(store: LocalStore, outcome: str) -> None:
    first = attempt(store, at=0, seconds=100, outcome=outcome, steps=range(1, 5), first_step_after=50)
    assert useful(store) == [0], "nothing can be gone on from"
    saved(store, first, 3)
    assert useful(store) == [70]


def test_without_its_metrics_nobody_knows(store: LocalStore) -> None:
    first = attempt(store, at=0, seconds=100, outcome="interrupted", steps=range(1, 5), first_step_after=50)
    saved(store, first, 3)
    store.put(f"runs/run/metrics/{first.token}-000001.jsonl", b"nonsense\n")
    found = spending_with_use(store, "run")
    assert [spent.useful_seconds for spent in found.attempts] == [None]
    assert (found.useful_machine_seconds, found.useful_dollars) == (None, None)
