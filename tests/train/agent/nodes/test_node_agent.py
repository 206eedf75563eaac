"""A machine that is not the head finds the attempt that waits for it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from runner.runs.attempts import Claim, claim_attempt, write_ended, write_heartbeat
from runner.runs.rendezvous import Participant, admit, join, participants, read_node_end
from runner.storage.local import LocalStore
from runner.train.agent.nodes import node_agent
from runner.train.agent.nodes.node_agent import NodeAgent
from runner.train.agent.nodes.topology import Topology
from runner.train.agent.setup import AgentSetup
from runner.train.agent.timing import Timing

PROCESSES = {"number": 1, "split": None, "world_size": 2, "local_world_size": 1, "addresses": ["127.0.0.1"] * 2}
ASSIGNMENT = {"assignment": {"token": "0001-aaaa", "port": 1, **PROCESSES}, "checkpoint": None}


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def trains(arguments: Sequence[str], events: int) -> "subprocess.Popen[bytes]":
    """A training process that does its part as soon as it is told what that is."""
    code = "import sys; sys.exit(0 if sys.stdin.readline() else 1)"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, pass_fds=[events])


def lead(store: LocalStore, claim: Claim) -> Thread:
    """The head's part in an attempt of two machines: begin when the other has come, end when it has ended."""

    def wait_for(look: Any) -> Any:
        while not (found := look()):
            pass
        return found

    def part() -> None:
        participant: Participant = wait_for(lambda: participants(store, claim))[1]
        admit(store, claim, {1: participant}, ASSIGNMENT)
        wait_for(lambda: read_node_end(store, participant))
        write_ended(store, claim, {"exit_code": 0, "outcome": "succeeded", "reason": ""})

    thread = Thread(target=part, daemon=True)
    thread.start()
    return thread


def test_turned_away_from_a_dead_attempt_it_joins_the_one_claimed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head that was killed has said nothing of its end, so the machine asks there first; the new one waits."""
    store = LocalStore(tmp_path / "store")
    dead = claim_attempt(store, "run", {})
    admit(store, dead, {1: join(store, "run", dead.number, 1, {})}, ASSIGNMENT)
    heads: list[Thread] = []
    real = node_agent.read_admission

    def comes_while_we_ask(where: LocalStore, participant: Participant) -> Any:
        if not heads:
            heads.append(lead(store, claim_attempt(store, "run", {})))
        return real(where, participant)

    monkeypatch.setattr(node_agent, "read_admission", comes_while_we_ask)
    setup = AgentSetup(
        store=store,
        run_id="run",
        work_dir=tmp_path / "work",
        topology=Topology(num_nodes=2, node_rank=1, node_ips=("127.0.0.1", "127.0.0.1")),
        spawn=trains,
        arguments=[],
        timing=Timing(look=0.05, join=20.0),
    )
    assert NodeAgent(setup, result=lambda: None).run() == 0
    heads[0].join(120)
    assert not heads[0].is_alive()


HANGS = """
import sys, time
from runner.train.agent.hangs.stacks import print_stacks_when_asked
print_stacks_when_asked()
def all_reduce():
    time.sleep(60)
sys.stdin.readline()
all_reduce()
"""


def test_when_the_head_says_that_training_hangs_the_machine_reports_its_stacks(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    claim = claim_attempt(store, "run", {})
    ends: list[Any] = []

    def lead_into_a_hang() -> None:
        while not (joined := participants(store, claim)):
            time.sleep(0.02)
        admit(store, claim, {1: joined[1]}, ASSIGNMENT)
        time.sleep(1.0)  # the training process has begun to wait by then
        write_heartbeat(store, claim, {"phase": "training", "hang": "no step for 10 min, after step 5"})
        while (end := read_node_end(store, joined[1])) is None:
            time.sleep(0.02)
        ends.append(end)
        write_ended(store, claim, {"exit_code": 75, "outcome": "interrupted", "reason": "training hung"})

    head = Thread(target=lead_into_a_hang, daemon=True)
    head.start()
    setup = AgentSetup(
        store=store,
        run_id="run",
        work_dir=tmp_path / "work",
        topology=Topology(num_nodes=2, node_rank=1, node_ips=("127.0.0.1", "127.0.0.1")),
        spawn=lambda arguments, events: subprocess.Popen(
            [sys.executable, "-c", HANGS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[events],
        ),
        arguments=[],
        timing=Timing(look=0.05, beat=0.05, join=60.0),
    )
    assert NodeAgent(setup, result=lambda: None).run() == 75
    head.join(60)
    [end] = ends
    text = "".join(end["last_lines"])
    assert "stacks of training process 1" in text
    assert "in all_reduce" in text
    assert [worker["killed"] for worker in end["ends"]] == [True]
