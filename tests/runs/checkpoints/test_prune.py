"""Pruning makes room and never takes what a restart needs."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.runs.attempts import Claim, Superseded, claim_attempt, write_restored
from runner.runs.checkpoints.lineage import checkpoint_folders, checkpoints
from runner.runs.checkpoints.prune import prune, sweep
from runner.runs.layout import CheckpointName, artifact_prefix, checkpoint_prefix
from runner.storage.atomic import PART
from runner.storage.commit import commit
from runner.storage.local import LocalStore
from runner.storage.manifest import MANIFEST
from runner.storage.store import Store
from support.fakes.memory_store import MemoryStore

Save = Callable[..., CheckpointName]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """A function that commits a small checkpoint of an attempt."""

    def save(store: Store, claim: Claim, step: int) -> CheckpointName:
        path = tmp_path / hashlib.sha256(f"{claim.token}{step}".encode()).hexdigest()
        path.write_text(f"weights of {claim.token} after {step} steps")
        name = CheckpointName("sft", step, claim.token)
        commit(store, checkpoint_prefix(claim.run_id, name), {"weights": path, "optimizer": path}, {"step": step})
        return name

    return save


def begin(store: Store, restored: CheckpointName | None = None) -> Claim:
    claim = claim_attempt(store, "r", {})
    write_restored(store, claim, restored)
    return claim


def steps(store: Store) -> list[int]:
    return [name.step for name in checkpoints(store, "r")]


@pytest.mark.parametrize("lane", ["local", "moto"])
def test_the_newest_are_kept(store: Store, save: Save) -> None:
    """As many as asked for; of the others nothing is left."""
    claim = begin(store)
    saved = [save(store, claim, step) for step in (10, 20, 30, 40)]
    assert prune(store, claim, save_total_limit=2) == [saved[1], saved[0]]
    assert steps(store) == [40, 30]
    assert list(checkpoint_folders(store, "r")) == [saved[2], saved[3]]


@pytest.mark.parametrize("limit", [0, 1])
def test_one_always_stays(memory: MemoryStore, save: Save, limit: int) -> None:
    """The newest good one, whatever the limit."""
    claim = begin(memory)
    for step in (10, 20):
        save(memory, claim, step)
    prune(memory, claim, save_total_limit=limit)
    assert steps(memory) == [20]


def test_no_limit_keeps_all(memory: MemoryStore, save: Save) -> None:
    """As in transformers."""
    claim = begin(memory)
    for step in (10, 20):
        save(memory, claim, step)
    assert prune(memory, claim, save_total_limit=None) == []
    assert steps(memory) == [20, 10]


def test_the_best_stays_beside_the_newest(memory: MemoryStore, save: Save) -> None:
    """With a limit of one, both: a restart needs the newest, the result the best."""
    claim = begin(memory)
    saved = {step: save(memory, claim, step) for step in (10, 20, 30)}
    prune(memory, claim, save_total_limit=1, best=saved[10])
    assert steps(memory) == [30, 10]


def test_a_damaged_one_does_not_count(memory: MemoryStore, save: Save) -> None:
    """Whether its manifest or one of its files is bad: the good one before it stays."""
    claim = begin(memory)
    saved = {step: save(memory, claim, step) for step in (10, 20, 30, 40)}
    memory.data[checkpoint_prefix("r", saved[40]) + MANIFEST] = b"{"
    del memory.data[checkpoint_prefix("r", saved[30]) + "weights"]
    prune(memory, claim, save_total_limit=1)
    assert steps(memory) == [40, 30, 20]
    save(memory, claim, 50)
    prune(memory, claim, save_total_limit=1)
    assert steps(memory) == [50]


def test_what_is_off_the_lineage_is_left_alone(memory: MemoryStore, save: Save) -> None:
    """An older attempt's late checkpoint is not ours to delete, nor does it push ours out."""
    old = begin(memory)
    ten = save(memory, old, 10)
    late = save(memory, old, 90)
    new = begin(memory, ten)
    save(memory, new, 20)
    prune(memory, new, save_total_limit=1)
    assert steps(memory) == [20]
    assert checkpoint_folders(memory, "r")[late] is True


def test_an_older_attempts_checkpoints_on_the_lineage_go_in_their_turn(memory: MemoryStore, save: Save) -> None:
    """The limit is the run's, not the attempt's."""
    old = begin(memory)
    ten = save(memory, old, 10)
    new = begin(memory, ten)
    save(memory, new, 20)
    save(memory, new, 30)
    assert prune(memory, new, save_total_limit=2) == [ten]


def test_a_superseded_attempt_deletes_nothing(memory: MemoryStore, save: Save) -> None:
    """The newer one may just be choosing what to restore."""
    old = begin(memory)
    for step in (10, 20, 30):
        save(memory, old, step)
    claim_attempt(memory, "r", {})
    with pytest.raises(Superseded):
        prune(memory, old, save_total_limit=1)
    assert steps(memory) == [30, 20, 10]


def test_the_fence_is_asked_before_each_deletion(memory: MemoryStore, save: Save) -> None:
    """A claim in the middle of pruning stops it there."""
    claim = begin(memory)
    for step in (10, 20, 30):
        save(memory, claim, step)

    def claim_after_the_first(request: str) -> None:
        if request.startswith("delete") and len(steps(memory)) == 3:
            claim_attempt(memory, "r", {})

    with pytest.raises(Superseded):
        prune(memory.seen_by(claim_after_the_first), claim, save_total_limit=1)
    assert steps(memory) == [30, 10]


def test_the_manifest_goes_first(memory: MemoryStore, save: Save) -> None:
    """So that a kill in between leaves no checkpoint with holes."""
    requests: list[str] = []
    claim = begin(memory)
    ten = save(memory, claim, 10)
    save(memory, claim, 20)
    prune(memory.seen_by(requests.append), claim, save_total_limit=1)
    deletes = [request for request in requests if request.startswith("delete")]
    prefix = checkpoint_prefix("r", ten)
    assert deletes == [f"delete {prefix}{name}" for name in (MANIFEST, "optimizer", "weights")]


def test_what_killed_attempts_left_is_swept(memory: MemoryStore, save: Save) -> None:
    """Half-uploaded and half-pruned folders of older attempts, and of ours those before one that we committed."""
    old = begin(memory)
    for step in (10, 20):
        memory.put(checkpoint_prefix("r", CheckpointName("sft", step, old.token)) + "weights", b"half")
    memory.put(artifact_prefix("r", "model", old.token) + "deep/weights", b"half")
    memory.put(artifact_prefix("r", "report", old.token) + MANIFEST, b"whole")
    new = begin(memory)
    mine = {step: CheckpointName("sft", step, new.token) for step in (10, 30)}
    for name in mine.values():
        memory.put(checkpoint_prefix("r", name) + "weights", b"half")
    memory.put(artifact_prefix("r", "model", new.token) + "weights", b"being uploaded")
    twenty = save(memory, new, 20)

    swept = sweep(memory, new)
    assert len(swept) == 4
    assert checkpoint_folders(memory, "r") == {twenty: True, mine[30]: False}
    assert memory.folders("runs/r/artifacts/model/") == [new.token]
    assert memory.folders("runs/r/artifacts/report/") == [old.token]
    assert sweep(memory, new) == []


def test_a_newer_attempts_upload_is_never_swept(memory: MemoryStore) -> None:
    """It looks just like a leftover."""
    old = begin(memory)
    new = begin(memory)
    prefix = checkpoint_prefix("r", CheckpointName("sft", 10, new.token))
    memory.put(prefix + "weights", b"being uploaded")
    assert sweep(memory, old) == []
    assert prefix + "weights" in memory.data


def test_what_a_kill_left_in_a_folder_store_is_swept(tmp_path: Path) -> None:
    """A copy that was cut short in its very first file is no object, but takes up room."""
    store = LocalStore(tmp_path / "store")
    old = begin(store)
    left = store.root / checkpoint_prefix("r", CheckpointName("sft", 10, old.token)) / f"{PART}0123456789abcdef"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of many gigabytes")
    sweep(store, begin(store))
    assert not left.parent.exists()
