"""Machines meet in the attempt that is alive, and in no other."""

from pathlib import Path

import pytest

from runner.runs.attempts import attempts, claim_attempt
from runner.runs.rendezvous import (
    NotInvited,
    newest_number,
    read_go,
    read_node_beat,
    read_node_end,
    seats,
    take_seat,
    write_go,
    write_node_beat,
    write_node_end,
)
from runner.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_who_came_in_time_is_told_and_who_did_not_is_turned_away(store: LocalStore) -> None:
    claim = claim_attempt(store, "run", {})
    seat = take_seat(store, "run", claim.number, 1, {"host": "b"})
    assert read_go(store, seat) is None
    assert seats(store, claim) == {1: seat}
    write_go(store, claim, {1: seat}, {"checkpoint": None})
    told = read_go(store, seat)
    assert told is not None
    assert (told["checkpoint"], told["token"]) == (None, claim.token)
    late = take_seat(store, "run", claim.number, 1, {"host": "b"})
    with pytest.raises(NotInvited):
        read_go(store, late)


def test_of_two_lives_of_one_machine_the_newer_takes_part(store: LocalStore) -> None:
    claim = claim_attempt(store, "run", {})
    dead = take_seat(store, "run", claim.number, 1, {})
    alive = take_seat(store, "run", claim.number, 1, {})
    other = take_seat(store, "run", claim.number, 2, {})
    assert seats(store, claim) == {1: alive, 2: other}
    assert dead.nonce != alive.nonce


def test_a_seat_in_an_old_attempt_counts_for_nothing_in_a_new_one(store: LocalStore) -> None:
    old = claim_attempt(store, "run", {})
    take_seat(store, "run", old.number, 1, {})
    new = claim_attempt(store, "run", {})
    assert newest_number(store, "run") == new.number == 2
    assert seats(store, new) == {}


def test_records_of_machines_are_no_attempts(store: LocalStore) -> None:
    claim = claim_attempt(store, "run", {})
    seat = take_seat(store, "run", claim.number, 1, {})
    write_go(store, claim, {1: seat}, {})
    write_node_beat(store, seat, 1)
    assert read_node_beat(store, seat) == {"count": 1}
    write_node_beat(store, seat, 2)
    assert read_node_beat(store, seat) == {"count": 2}
    assert read_node_end(store, seat) is None
    write_node_end(store, seat, {"exit_code": 0, "ends": []})
    end = read_node_end(store, seat)
    assert end is not None
    assert end["exit_code"] == 0
    assert [attempt.number for attempt in attempts(store, "run")] == [1]
    assert seats(store, claim) == {1: seat}
