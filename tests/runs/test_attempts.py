"""Numbers are claimed once, and an older attempt finds out that it is superseded."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.runs.attempts import (
    Claim,
    Superseded,
    attempts,
    claim_attempt,
    fence,
    is_superseded,
    read_heartbeat,
    write_ended,
    write_heartbeat,
    write_restored,
)
from runner.runs.layout import CheckpointName, attempt_key
from runner.storage.manifest import Damaged
from runner.storage.store import Store, StoreUnavailable
from support.fakes.memory_store import MemoryStore


@pytest.mark.parametrize("lane", ["local", "moto"])
def test_numbers_count_up(store: Store) -> None:
    """Each claim has a number, a token of its own, and the record of who claims."""
    claims = [claim_attempt(store, "r", {"host": "here"}) for _ in range(3)]
    assert [claim.number for claim in claims] == [1, 2, 3]
    assert len({claim.token for claim in claims}) == 3
    known = attempts(store, "r")
    assert [attempt.token for attempt in known] == [claim.token for claim in claims]
    assert all(attempt.claim["host"] == "here" for attempt in known)
    assert not any(attempt.began for attempt in known)


@pytest.mark.parametrize("lane", ["local", "moto"])
def test_no_number_is_claimed_twice(store: Store) -> None:
    """Eight at once each get another."""
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim_attempt(store, "r", {}), range(8)))
    assert len({claim.number for claim in claims}) == 8
    assert [is_superseded(store, claim) for claim in sorted(claims, key=lambda claim: claim.number)] == [True] * 7 + [
        False
    ]


def test_a_claim_whose_answer_was_lost_is_still_ours(memory: MemoryStore) -> None:
    """The object stands there with our token: no number is skipped, no attempt doubled."""

    class LostAnswer(MemoryStore):
        def create(self, key: str, data: bytes) -> bool:
            super().create(key, data)
            return False

    assert claim_attempt(LostAnswer(data=memory.data), "r", {}).number == 1
    assert len(attempts(memory, "r")) == 1


def test_a_claim_that_was_overwritten_is_found_out() -> None:
    """In a store that ignores conditional writes: the one whose token stands there goes on, the other stops."""
    store = MemoryStore(conditional=False)
    first = claim_attempt(store, "r", {})
    fence(store, first)
    second = Claim("r", 1, "0001-zzzz")
    store.put(attempt_key("r", 1), b'{"token": "0001-zzzz", "number": 1}')
    with pytest.raises(Superseded, match="claimed number 1"):
        fence(store, first)
    with pytest.raises(Superseded):
        write_restored(store, first, None)
    fence(store, second)
    write_restored(store, second, None)
    fence(store, second)


def test_a_claim_that_was_overwritten_in_between_is_given_up() -> None:
    """Between writing and reading back: the next number is taken."""

    class Overwritten(MemoryStore):
        def create(self, key: str, data: bytes) -> bool:
            created = super().create(key, data)
            if key == attempt_key("r", 1):
                self.data[key] = b'{"token": "0001-zzzz", "number": 1}'
            return created

    assert claim_attempt(Overwritten(), "r", {}).number == 2


def test_anothers_restored_record_stops_us(memory: MemoryStore) -> None:
    """Whoever lost the race for a number may still write under it; then nobody knows who is who, and we stop."""
    claim = claim_attempt(memory, "r", {})
    memory.put(attempt_key("r", 1, "restored"), b'{"token": "0001-zzzz", "checkpoint": null}')
    with pytest.raises(Superseded):
        write_restored(memory, claim, None)
    with pytest.raises(Superseded):
        fence(memory, claim)
    assert not attempts(memory, "r")[0].began


def test_an_older_attempt_is_fenced_off(memory: MemoryStore) -> None:
    """From the moment of the newer one's claim."""
    old = claim_attempt(memory, "r", {})
    write_restored(memory, old, None)
    fence(memory, old)
    assert not is_superseded(memory, old)
    new = claim_attempt(memory, "r", {})
    with pytest.raises(Superseded, match="attempt 2 has begun"):
        fence(memory, old)
    assert is_superseded(memory, old)
    with pytest.raises(Superseded):
        write_restored(memory, old, None)
    fence(memory, new)


def test_a_deleted_run_stops_its_attempt(memory: MemoryStore) -> None:
    """Somebody removed the run: nothing may be written into it any more."""
    claim = claim_attempt(memory, "r", {})
    memory.data.clear()
    with pytest.raises(Superseded, match="gone"):
        fence(memory, claim)


def test_an_absent_store_is_no_newer_attempt(memory: MemoryStore) -> None:
    """Not knowing is an error of its own."""
    claim = claim_attempt(memory, "r", {})

    def away(request: str) -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        is_superseded(memory.seen_by(away), claim)


def test_an_attempts_story_is_read_back(memory: MemoryStore) -> None:
    """What it restored, and how it ended; both are said once."""
    claim = claim_attempt(memory, "r", {})
    name = CheckpointName("sft", 10, "0001-abcd")
    write_restored(memory, claim, name)
    write_restored(memory, claim, name)
    assert write_ended(memory, claim, {"exit_code": 75, "outcome": "interrupted"})
    assert not write_ended(memory, claim, {"exit_code": 0, "outcome": "succeeded"})
    (attempt,) = attempts(memory, "r")
    assert attempt.began
    assert attempt.restored == name
    assert attempt.ended is not None
    assert attempt.ended["exit_code"] == 75


def test_a_heartbeat_is_only_a_hint(memory: MemoryStore) -> None:
    """The last one is read; a damaged or missing one is none."""
    claim = claim_attempt(memory, "r", {})
    assert read_heartbeat(memory, "r", 1) is None
    write_heartbeat(memory, claim, {"step": 1})
    write_heartbeat(memory, claim, {"step": 2})
    beat = read_heartbeat(memory, "r", 1)
    assert beat is not None
    assert (beat["step"], beat["token"]) == (2, claim.token)
    memory.put(attempt_key("r", 1, "heartbeat"), b"")
    assert read_heartbeat(memory, "r", 1) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"token": 7}'])
def test_a_damaged_claim_is_named(memory: MemoryStore, data: bytes) -> None:
    """Guessing the lineage could lose a checkpoint."""
    memory.put(attempt_key("r", 1), data)
    with pytest.raises(Damaged, match=r"runs/r/attempts/0001\.json"):
        attempts(memory, "r")


def test_a_restored_record_that_names_no_checkpoint_is_damaged(memory: MemoryStore) -> None:
    """As above."""
    claim = claim_attempt(memory, "r", {})
    record = f'{{"token": "{claim.token}", "checkpoint": "latest"}}'
    memory.put(attempt_key("r", 1, "restored"), record.encode())
    with pytest.raises(Damaged, match="'latest', not a checkpoint's name"):
        attempts(memory, "r")


def test_other_files_beside_the_claims_are_left_alone(memory: MemoryStore) -> None:
    """A note that somebody put there is no attempt."""
    memory.put("runs/r/attempts/README.md", b"")
    memory.put("runs/r/attempts/12.json", b"")
    assert attempts(memory, "r") == []
    assert claim_attempt(memory, "r", {}).number == 1
