"""What a run costs while it trains, and when an attempt has to save and leave."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.runs.attempts import claim_attempt, write_ended
from runner.runs.measured.prices import stated_price
from runner.runs.measured.spending import write_price
from runner.storage.local import LocalStore
from runner.storage.store import StoreUnavailable
from runner.train.agent.head_agent import HeadAgent
from runner.train.agent.money.meter import Meter
from runner.train.agent.money.price import Money, find_money
from runner.train.agent.nodes.topology import Topology
from runner.train.agent.setup import AgentSetup
from runner.train.agent.timing import Timing

TIMING = Timing(beat=0.05, look=0.05, poll=0.01, peer=0.5, upload=5.0, join=0.2, store=1)

WORKER = """
import json, os, signal, sys, time
events = int(sys.argv[sys.argv.index("--events") + 1])
def send(kind, **fields):
    os.write(events, json.dumps({"kind": kind, **fields}).encode() + b"\\n")
def on_sigterm(number, frame):
    send("outcome", outcome="interrupted", reason="stopped by SIGTERM", retry=True)
    os._exit(75)
signal.signal(signal.SIGTERM, on_sigterm)
assignment = json.loads(sys.stdin.readline())
"""
TRAINS = WORKER + "time.sleep(60)"
SUCCEEDS = WORKER + 'send("outcome", outcome="succeeded", reason=None, retry=False, result={"artifacts": {}})'
FAILS = WORKER + 'send("outcome", outcome="failed", reason="a bug", retry=False); sys.exit(1)'
DEAF = WORKER + "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"

A_DOLLAR_A_SECOND = 3600.0


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class SlowStore(LocalStore):
    """A store that stops answering."""

    answers = threading.Event()

    def put(self, key: str, data: bytes) -> None:
        if ".heartbeat" in key and not self.answers.wait(5):
            raise StoreUnavailable("timed out")
        super().put(key, data)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def attempt(store: LocalStore, code: str, money: Money, *, give_up_after: int | None = None) -> int:
    """Make an attempt; return its exit code."""

    def spawn(arguments: Sequence[str], events: int) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, pass_fds=[events])

    setup = AgentSetup(
        store=store,
        run_id="run",
        work_dir=Path(store.url).parent / "work",
        topology=Topology(num_nodes=1, node_ips=("127.0.0.1",)),
        spawn=spawn,
        arguments=[],
        money=money,
        timing=TIMING,
    )
    setup.work_dir.mkdir(exist_ok=True)
    return HeadAgent(setup, give_up_after=give_up_after).run()


def record(store: LocalStore, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(store.get(f"runs/run/{name}"))
    return document


def capped_at(dollars: float) -> Money:
    return Money(price=stated_price(A_DOLLAR_A_SECOND), max_cost=dollars)


def test_an_attempt_saves_and_ends_before_the_run_costs_more(store: LocalStore) -> None:
    begun = time.monotonic()
    assert attempt(store, TRAINS, capped_at(2.0)) == 75
    assert time.monotonic() - begun < 10
    ended = record(store, "attempts/0001.ended.json")
    assert (ended["outcome"], ended["retry"], ended["capped"], ended["exit_code"]) == ("interrupted", False, True, 75)
    assert ended["reason"].startswith("it has cost $1.")
    assert "of the $2.00 that --max-cost allows; `runner resume run --max-cost DOLLARS` goes on" in ended["reason"]
    assert record(store, "attempts/0001.price.json")["dollars_per_hour"] == A_DOLLAR_A_SECOND
    beat = record(store, "attempts/0001.heartbeat.json")
    assert 1.0 < beat["cost"] <= 2.5
    assert beat["cost_per_hour"] == A_DOLLAR_A_SECOND


def test_whoever_starts_attempts_again_does_not_start_this_one(store: LocalStore) -> None:
    """SkyPilot starts a task again that exits with 75."""
    assert attempt(store, TRAINS, capped_at(1.0), give_up_after=10) == 1


def test_earlier_attempts_count(store: LocalStore) -> None:
    claim = claim_attempt(store, "run", {"started_at": "2026-11-01T10:00:00+00:00"})
    write_price(store, claim, stated_price(A_DOLLAR_A_SECOND))
    write_ended(store, claim, {"ended_at": "2026-11-01T10:00:05+00:00", "outcome": "failed", "retry": True})
    assert attempt(store, SUCCEEDS, capped_at(5.0)) == 75
    assert record(store, "attempts/0002.ended.json")["reason"].startswith("it has cost $5.0")
    assert attempt(store, SUCCEEDS, capped_at(60.0)) == 0
    assert 5.0 <= record(store, "result.json")["cost"] < 20.0


@pytest.mark.parametrize(("code", "exit_code", "state"), [(SUCCEEDS, 0, "succeeded"), (FAILS, 1, "failed")])
def test_an_end_of_the_run_stands(store: LocalStore, code: str, exit_code: int, state: str) -> None:
    assert attempt(store, code, capped_at(1000.0)) == exit_code
    assert record(store, "result.json")["state"] == state


def test_a_process_that_does_not_end_is_killed(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.train.agent.money.meter.SAVING_SECONDS", 0.5)
    begun = time.monotonic()
    assert attempt(store, DEAF, capped_at(2.0)) == 75
    assert time.monotonic() - begun < 10
    assert record(store, "attempts/0001.ended.json")["capped"] is True


def test_a_store_that_does_not_answer_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    store = SlowStore(tmp_path / "store")
    begun = time.monotonic()
    threading.Timer(6.0, store.answers.set).start()
    assert attempt(store, TRAINS, capped_at(2.0)) == 75
    assert time.monotonic() - begun < 20
    assert record(store, "attempts/0001.ended.json")["reason"].startswith("it has cost $")


def test_without_a_price_a_cap_lets_nothing_begin(store: LocalStore) -> None:
    assert attempt(store, SUCCEEDS, Money(max_cost=5.0)) == 75
    assert "--hourly-cost" in record(store, "attempts/0001.ended.json")["reason"]


def test_what_is_kept_for_a_checkpoint_is_a_minute_or_two_steps_but_a_tenth_at_most() -> None:
    now = [0.0]
    meter = Meter(before=4.0, price=stated_price(1.0), machines=2, max_cost=10.0, clock=lambda: now[0])
    assert meter.affordable_seconds == 3 * 3600
    assert meter.saving_seconds == 60.0
    for step in range(3):
        now[0] = step * 100.0
        meter.note_step(step)
    assert meter.saving_seconds == 230.0
    now[0] = 3600.0
    assert meter.spent() == 6.0
    small = Meter(before=None, price=stated_price(3600.0), max_cost=10.0, clock=lambda: 0.0)
    assert small.saving_seconds == 1.0


def test_the_newest_word_of_the_owner_counts_then_the_machines_then_the_catalogs(store: LocalStore) -> None:
    from runner.runs.measured.budget import Budget, note_budget
    from runner.runs.measured.prices import note_prices

    offer = {"infra": "aws", "accelerators": "L4:1", "dollars_per_hour": 0.4}
    document: Any = {"run_id": "run", "budget": {"max_cost": 3.0}}
    here = {"SKYPILOT_CLUSTER_INFO": '{"cloud": "AWS"}', "CUDA_VISIBLE_DEVICES": ""}
    assert find_money(store, document, here) == Money(max_cost=3.0)
    note_prices(store, "runs/run/launches/", 1, {"source": "a catalog", "offers": [offer]})  # type: ignore[list-item]
    store.create("runs/run/launches/0001.json", b'{"name": "run"}')
    found = find_money(store, document, here)
    assert found.price == {"dollars_per_hour": 0.4, "source": "a catalog: aws, L4:1, on demand"}
    stated = find_money(store, document, {**here, "RUNNER_HOURLY_COST": "$2.5"})
    assert stated.price == stated_price(2.5, by="RUNNER_HOURLY_COST")
    note_budget(store, "run", Budget(max_cost=7.0, hourly_cost=1.5))
    assert find_money(store, document, here) == Money(price=stated_price(1.5), max_cost=7.0)
    note_budget(store, "run", replace(Budget(), max_cost=9.0))
    assert find_money(store, document, here).max_cost == 9.0
