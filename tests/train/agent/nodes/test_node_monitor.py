"""The head notices nodes that are lost, and is not misled by a store that does not answer or by a strange record."""

from pathlib import Path

import pytest

from runner.runs.attempts import claim_attempt
from runner.runs.rendezvous import join, read_admission, write_node_end
from runner.storage.local import LocalStore
from runner.storage.store import StoreUnavailable
from runner.train.agent.nodes import node_monitor
from runner.train.agent.nodes.node_monitor import NodeMonitor, StallDetector
from runner.train.agent.nodes.topology import Topology
from runner.train.agent.outcome import NodeExit


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(node_monitor, "time", made)
    return made


def test_what_stays_the_same_for_too_long_has_stalled(clock: Clock) -> None:
    detector = StallDetector(25.0)
    assert not detector.look(lambda: 1)
    stalled = []
    for _ in range(3):
        clock.now += 9.0
        stalled.append(detector.look(lambda: 1))
    assert stalled == [False, False, True]
    assert not detector.look(lambda: 2)


def test_an_hour_of_sleep_does_not_count_as_an_hour_of_silence(clock: Clock) -> None:
    detector = StallDetector(25.0)
    detector.look(lambda: 1)
    clock.now += 3600
    assert not detector.look(lambda: 1)


def test_a_store_that_does_not_answer_says_nothing_of_a_node(clock: Clock) -> None:
    def away() -> int:
        raise StoreUnavailable("away")

    detector = StallDetector(5.0)
    for _ in range(10):
        clock.now += 9.0
        assert not detector.look(away)


def test_nodes_join_begin_and_end(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    claim = claim_attempt(store, "run", {})
    monitor = NodeMonitor(store, claim, Topology(num_nodes=3), silence_seconds=60)
    first = join(store, "run", claim.number, 1, {})
    assert monitor.missing_nodes() == [2]
    second = join(store, "run", claim.number, 2, {})
    assert monitor.missing_nodes() == []
    monitor.begin({"checkpoint": None})
    assert read_admission(store, second) is not None
    monitor.look()
    assert (monitor.all_ended, monitor.any_failed) == (False, False)
    for participant, code in ((first, 0), (second, 75)):
        write_node_end(store, participant, NodeExit(exit_code=code, ends=[], last_lines=[], host="h").to_record())
    monitor.look()
    assert (monitor.all_ended, monitor.any_failed, monitor.only_stopped) == (True, True, True)


def test_a_node_whose_heartbeat_has_stopped_is_lost(tmp_path: Path, clock: Clock) -> None:
    """A record that is not the end of a node's part is no sign of life."""
    store = LocalStore(tmp_path)
    claim = claim_attempt(store, "run", {})
    monitor = NodeMonitor(store, claim, Topology(num_nodes=2), silence_seconds=15)
    participant = join(store, "run", claim.number, 1, {})
    assert monitor.missing_nodes() == []
    monitor.begin({})
    write_node_end(store, participant, {"exit_code": "none"})
    for _ in range(3):
        monitor.look()
        clock.now += 9.0
    assert (monitor.lost, monitor.ended, monitor.only_stopped) == ([1], {}, False)
