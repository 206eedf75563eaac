"""Machines meet in the attempt that is alive, and in no other."""

from pathlib import Path

import pytest

from runner.runs.attempts import attempts, claim_attempt, newest_number
from runner.runs.rendezvous import (
    NotAdmitted,
    admit,
    join,
    participants,
    read_admission,
    read_node_beat,
    read_node_end,
    write_node_beat,
    write_node_end,
)
from runner.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_who_came_in_time_is_told_and_who_did_not_is_turned_away(store: LocalStore) -> None:
    claim = claim_attempt(store, "run", {})
    participant = join(store, "run", claim.number, 1, {"host": "b"})
    assert read_admission(store, participant) is None
    assert participants(store, claim) == {1: participant}
    admit(store, claim, {1: participant}, {"checkpoint": None})
    told = read_admission(store, participant)
    assert told is not None
    assert (told["checkpoint"], told["token"]) == (None, claim.token)
    late = join(store, "run", claim.number, 1, {"host": "b"})
    with pytest.raises(NotAdmitted):
        read_admission(store, late)


def test_of_two_lives_of_one_machine_the_newer_takes_part(store: LocalStore) -> None:
    claim = claim_attempt(store, "run", {})
    dead = join(store, "run", claim.number, 1, {})
    alive = join(store, "run", claim.number, 1, {})
    other = join(store, "run", claim.number, 2, {})
    assert participants(store, claim) == {1: alive, 2: other}
    assert dead.nonce != alive.nonce


def test_a_seat_in_an_old_attempt_counts_for_nothing_in_a_new_one(store: LocalStore) -> None:
    old = claim_attempt(store, "run", {})
    join(store, "run", old.number, 1, {})
    new = claim_attempt(store, "run", {})
    assert newest_number(store, "run") == new.number == 2
    assert participants(store, new) == {}


def test_records_of_machines_are_no_attempts(store: LocalStore) -> None:
    claim = claim_attempt(store, "run", {})
    participant = join(store, "run", claim.number, 1, {})
    admit(store, claim, {1: participant}, {})
    write_node_beat(store, participant, 1)
    assert read_node_beat(store, participant) == {"count": 1}
    write_node_beat(store, participant, 2)
    assert read_node_beat(store, participant) == {"count": 2}
    assert read_node_end(store, participant) is None
    write_node_end(store, participant, {"exit_code": 0, "ends": []})
    end = read_node_end(store, participant)
    assert end is not None
    assert end["exit_code"] == 0
    assert [attempt.number for attempt in attempts(store, "run")] == [1]
    assert participants(store, claim) == {1: participant}
