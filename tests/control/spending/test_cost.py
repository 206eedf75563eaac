"""What runs have cost, added up."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.control.spending.cost import costs, total, totals
from runner.runs.attempts import claim_attempt, write_ended
from runner.runs.measured.prices import stated_price
from runner.runs.measured.spending import write_price
from runner.runs.records import encoded
from runner.storage.local import LocalStore

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    run(store, "one", hours_ago=10, hours=1, price=2.0, gpu="L4")
    run(store, "two", hours_ago=40, hours=2, price=3.0, gpu="A100")
    run(store, "three", hours_ago=5, hours=1, price=None, gpu=None)
    return store


def run(
    store: LocalStore, run_id: str, *, hours_ago: float, hours: float, price: float | None, gpu: str | None
) -> None:
    begun = NOW - timedelta(hours=hours_ago)
    document = {
        "run_id": run_id,
        "name": "recipe-" + run_id[0],
        "recipe": {},
        "infra": "aws" if gpu else "local",
        "accelerators": {gpu: 1} if gpu else None,
        "created_at": begun.isoformat(),
    }
    store.create(f"runs/{run_id}/run.json", encoded(document))
    claim = claim_attempt(store, run_id, {"started_at": begun.isoformat()})
    if price is not None:
        write_price(store, claim, stated_price(price))
    end = (begun + timedelta(hours=hours)).isoformat()
    write_ended(store, claim, {"ended_at": end, "outcome": "succeeded"})
    result = {"state": "succeeded", "attempts": 1, "ended_at": end, "cost": price and price * hours}
    store.create(f"runs/{run_id}/result.json", encoded(result))


def test_runs_are_added_up_by_what_they_have_in_common(store: LocalStore) -> None:
    found = costs(store)
    assert {cost.name: cost.dollars for cost in found} == {"one": 2.0, "two": 6.0, "three": None}
    whole = total(found)
    assert (whole.dollars, whole.seconds, whole.unpriced_seconds) == (8.0, 4 * 3600, 3600)
    assert [(each.key, each.dollars) for each in totals(found, "gpu")] == [("A100:1", 6.0), ("L4:1", 2.0), ("-", None)]
    assert [(each.key, each.count, each.dollars) for each in totals(found, "recipe")] == [
        ("recipe-t", 2, 6.0),
        ("recipe-o", 1, 2.0),
    ]


def test_since_a_moment_only_what_was_spent_from_then_on_counts(store: LocalStore) -> None:
    found = {cost.name: cost.dollars for cost in costs(store, since=NOW - timedelta(hours=39))}
    assert found == {"one": 2.0, "two": pytest.approx(3.0), "three": None}
    assert {cost.name for cost in costs(store, since=NOW - timedelta(hours=20))} == {"one", "three"}


def command(store: LocalStore, *arguments: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "runner", "cost", "--store", store.url, *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)


def test_the_command_says_the_source_and_what_has_no_price(store: LocalStore) -> None:
    done = command(store)
    assert "total: $8.00+ for" in done.stdout
    assert "no price" in done.stdout
    assert "price: as stated by --hourly-cost" in done.stderr
    document = json.loads(command(store, "--json", "--by", "infra").stdout)
    assert (document["dollars"], [group["key"] for group in document["groups"]]) == (8.0, ["aws", "local"])
    [only] = json.loads(command(store, "one", "--json").stdout)["runs"]
    assert [(each["outcome"], each["seconds"], each["dollars"]) for each in only["attempts"]] == [
        ("succeeded", 3600, 2)
    ]
