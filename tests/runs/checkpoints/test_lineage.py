"""Which checkpoints count: those on the way to the newest attempt, and no others."""

from runner.runs.attempts import Attempt, claim_attempt, write_restored
from runner.runs.checkpoints.lineage import Lineage, checkpoint_folders, checkpoints, lineage_of, read_lineage
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.storage.manifest import MANIFEST
from support.fakes.memory_store import MemoryStore


def name(step: int, token: str, stage: str = "sft") -> CheckpointName:
    return CheckpointName(stage, step, token)


def attempt(number: int, restored: CheckpointName | None = None, *, began: bool = True) -> Attempt:
    return Attempt(number, f"{number:04d}-aaaa", {}, began, restored, None)


ONE, TWO, THREE = (f"{number:04d}-aaaa" for number in (1, 2, 3))


def test_a_run_that_has_not_begun_has_no_lineage() -> None:
    """Claims alone own nothing."""
    assert lineage_of([]) == Lineage()
    assert lineage_of([attempt(1, began=False)]) == Lineage()


def test_an_attempts_own_work_counts() -> None:
    """All of it."""
    lineage = lineage_of([attempt(1)])
    assert lineage.holds(ONE, "sft", 10**9)
    assert not lineage.holds(TWO, "sft", 1)


def test_what_came_before_the_restored_checkpoint_counts() -> None:
    """And what the older attempt did after it does not: its steps are taken anew."""
    lineage = lineage_of([attempt(1), attempt(2, name(20, ONE))])
    assert lineage.holds(ONE, "sft", 20)
    assert not lineage.holds(ONE, "sft", 21)
    assert lineage.holds(TWO, "sft", 21)
    assert lineage.tokens == (ONE, TWO)


def test_the_chain_is_followed_to_its_beginning() -> None:
    """Through attempts that restored and died without a checkpoint of their own."""
    lineage = lineage_of([attempt(1), attempt(2, name(20, ONE)), attempt(3, name(20, ONE))])
    assert lineage.tokens == (ONE, THREE)
    chain = lineage_of([attempt(1), attempt(2, name(20, ONE)), attempt(3, name(30, TWO))])
    assert chain.tokens == (ONE, TWO, THREE)
    assert not chain.holds(TWO, "sft", 31)
    assert not chain.holds(ONE, "sft", 21)


def test_going_back_further_cuts_the_chain_further() -> None:
    """The newest checkpoint was damaged, the one before was another attempt's."""
    lineage = lineage_of([attempt(1), attempt(2, name(20, ONE)), attempt(3, name(10, ONE))])
    assert lineage.holds(ONE, "sft", 10)
    assert not lineage.holds(ONE, "sft", 20)
    assert not lineage.holds(TWO, "sft", 21)


def test_beginning_afresh_leaves_everything_behind() -> None:
    """Nothing was committed when it chose."""
    lineage = lineage_of([attempt(1), attempt(2)])
    assert lineage.tokens == (TWO,)


def test_an_attempt_that_never_began_is_skipped() -> None:
    """It died between claiming and restoring; the next one goes on from the one before."""
    known = [attempt(1), attempt(2, began=False)]
    assert lineage_of(known).tokens == (ONE,)


def test_stages_order_by_name() -> None:
    """A checkpoint of the second stage is after all of the first, whatever its step."""
    lineage = lineage_of([attempt(1), attempt(2, name(5, ONE, "1_sft"))])
    assert lineage.holds(ONE, "0_cpt", 1000)
    assert lineage.holds(ONE, "1_sft", 5)
    assert not lineage.holds(ONE, "1_sft", 6)
    assert not lineage.holds(ONE, "2_dpo", 1)


def test_a_circle_ends() -> None:
    """Records that cannot be true do not hang the reader."""
    known = [attempt(1, name(20, TWO)), attempt(2, name(20, ONE))]
    assert lineage_of(known).tokens == (ONE, TWO)
    assert lineage_of([attempt(1, name(20, ONE))]).tokens == (ONE,)


def test_checkpoints_of_the_newest_lineage_newest_first(memory: MemoryStore) -> None:
    """Only committed ones: no manifest, no checkpoint."""
    first = claim_attempt(memory, "r", {})
    write_restored(memory, first, None)
    for step in (10, 20, 30):
        memory.put(checkpoint_prefix("r", name(step, first.token)) + MANIFEST, b"")
    memory.put(checkpoint_prefix("r", name(40, first.token)) + "weights", b"")
    memory.put("runs/r/checkpoints/notes.txt", b"")
    assert [found.step for found in checkpoints(memory, "r")] == [30, 20, 10]

    second = claim_attempt(memory, "r", {})
    assert [found.step for found in checkpoints(memory, "r")] == [30, 20, 10]
    write_restored(memory, second, name(20, first.token))
    memory.put(checkpoint_prefix("r", name(30, second.token)) + MANIFEST, b"")
    assert checkpoints(memory, "r") == [name(30, second.token), name(20, first.token), name(10, first.token)]
    assert checkpoint_folders(memory, "r")[name(40, first.token)] is False
    assert len(checkpoint_folders(memory, "r")) == 5


def test_later_is_what_the_recipe_has_later(memory: MemoryStore) -> None:
    """Whatever stages are called: the newest checkpoint is the latest stage's, and what came before counts."""
    stages = ("sft", "more", "dpo")
    first = claim_attempt(memory, "r", {})
    write_restored(memory, first, None, stages=stages)
    for stage, step in (("sft", 5), ("more", 30), ("dpo", 2)):
        memory.put(checkpoint_prefix("r", name(step, first.token, stage)) + MANIFEST, b"")
    assert [(found.stage, found.step) for found in checkpoints(memory, "r")] == [("dpo", 2), ("more", 30), ("sft", 5)]
    second = claim_attempt(memory, "r", {})
    write_restored(memory, second, name(30, first.token, "more"), stages=stages)
    lineage = read_lineage(memory, "r")
    assert lineage.holds(first.token, "sft", 10**9)
    assert lineage.holds(first.token, "more", 30)
    assert not lineage.holds(first.token, "more", 31)
    assert not lineage.holds(first.token, "dpo", 1)
    assert lineage.holds(second.token, "dpo", 1)
