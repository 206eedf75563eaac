"""What a run has cost: every attempt, to its end or its last sign of life."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.process import boot_id
from runner.runs.attempts import Claim, claim_attempt, write_ended, write_heartbeat
from runner.runs.chunks import ChunkWriter
from runner.runs.measured.prices import stated_price
from runner.runs.measured.spending import in_dollars, spending, write_price
from runner.storage.local import LocalStore

BEGUN = datetime(2026, 11, 1, 10, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def claimed(store: LocalStore, *, at: datetime = BEGUN, price: float | None = 3.6, **fields: object) -> Claim:
    claim = claim_attempt(store, "run", {"started_at": at.isoformat(), **fields})
    if price is not None:
        write_price(store, claim, stated_price(price))
    return claim


def after(seconds: float) -> str:
    return (BEGUN + timedelta(seconds=seconds)).isoformat()


def test_every_attempt_counts_from_its_claim_to_its_end(store: LocalStore) -> None:
    write_ended(store, claimed(store), {"ended_at": after(1000), "outcome": "failed"})
    write_ended(store, claimed(store, nodes=2), {"ended_at": after(500), "outcome": "interrupted"})
    write_ended(store, claimed(store, price=None), {"ended_at": after(100), "outcome": "succeeded"})
    found = spending(store, "run")
    assert [(each.seconds, each.machines, each.dollars, each.outcome) for each in found.attempts] == [
        (1000, 1, pytest.approx(1.0), "failed"),
        (500, 2, pytest.approx(1.0), "interrupted"),
        (100, 1, None, "succeeded"),
    ]
    assert found.dollars == pytest.approx(2.0)
    assert (found.seconds, found.machine_seconds, found.unpriced_seconds) == (1600, 2100, 100)
    assert found.sources == ("as stated by --hourly-cost",)
    assert spending(store, "run", before=2).dollars == pytest.approx(1.0)
    assert spending(store, "none").dollars is None


def test_one_that_was_killed_counts_to_its_last_sign(store: LocalStore, tmp_path: Path) -> None:
    claim = claimed(store)
    write_heartbeat(store, claim, {"at": after(700)})
    for path in (tmp_path / "store/runs/run/attempts").iterdir():
        os.utime(path, (1000, 1000))
    [killed] = spending(store, "run").attempts
    assert (killed.outcome, killed.seconds) == ("killed", 700)


def test_one_that_the_store_heard_only_logs_of_counts_to_the_last_of_them(store: LocalStore, tmp_path: Path) -> None:
    claim = claimed(store)
    chunks = ChunkWriter(store, "run", "logs", claim.token)
    chunks.append("a line\n")
    chunks.flush()
    record = tmp_path / "store/runs/run/attempts/0001.json"
    [log] = (tmp_path / "store/runs/run/logs").iterdir()
    price = tmp_path / "store/runs/run/attempts/0001.price.json"
    for path, at in ((record, 1000), (price, 1000), (log, 1250)):
        os.utime(path, (at, at))
    assert spending(store, "run").attempts[0].seconds == 250


def test_one_that_is_alive_counts_until_now(store: LocalStore) -> None:
    claimed(store)
    assert spending(store, "run").attempts[0].outcome == "running"
    assert spending(store, "run", now=BEGUN + timedelta(hours=2)).dollars == pytest.approx(7.2)
    assert boot_id() is None or spending(store, "run").attempts[0].seconds > 0


@pytest.mark.parametrize(
    ("dollars", "text"), [(0.0, "$0.00"), (0.00312, "$0.0031"), (0.5, "$0.50"), (12.345, "$12.35")]
)
def test_small_amounts_have_more_digits(dollars: float, text: str) -> None:
    assert in_dollars(dollars) == text
