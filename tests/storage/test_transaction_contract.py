"""The checkpoint transaction, claims, pruning and chunks keep their promises on every store, whatever it honours."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.runs.attempts import (
    Claim,
    Superseded,
    attempts,
    claim_attempt,
    fence,
    is_superseded,
    write_ended,
    write_heartbeat,
    write_restored,
)
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.checkpoints.prune import prune, sweep
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName, artifact_prefix, checkpoint_prefix
from runner.runs.logs import read_log
from runner.runs.metrics import read_metrics
from runner.storage.commit import AlreadyCommitted, commit, fetch, read_manifest, verify
from runner.storage.manifest import MANIFEST, Damaged, DamagedManifest
from runner.storage.open import open_store
from runner.storage.probe import probe
from runner.storage.store import NotFound, Store
from support.servers.s3 import ATOMIC_CREATE, IGNORES_CREATE

RUN = "run-1"
FOLDER = "runs/run-1/checkpoints/sft-000010-0001-aaaa/"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """What a small checkpoint is made of: something large, something small, something empty, a folder."""
    folder = tmp_path / "files"
    contents = {"model.safetensors": bytes(range(256)) * 4000, "trainer_state.json": b"{}", "empty": b""}
    contents["tokenizer/vocab.json"] = b'{"a": 1}'
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


def contents_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save(store: Store, claim: Claim, step: int, files: dict[str, Path]) -> CheckpointName:
    """Commit a checkpoint as training does: fenced."""
    name = CheckpointName("sft", step, claim.token)
    prefix = checkpoint_prefix(claim.run_id, name)
    commit(store, prefix, files, {"step": step}, before_manifest=lambda: fence(store, claim))
    return name


def begin(store: Store, checkpoint: CheckpointName | None = None) -> Claim:
    """A new attempt that continues from a checkpoint."""
    claim = claim_attempt(store, RUN, {"host": "here"})
    write_restored(store, claim, checkpoint)
    return claim


def test_the_probe_finds_out_whether_writes_can_be_conditional(store: Store, lane: str) -> None:
    """Of our servers only rclone ignores the condition; no trace of the probe is left."""
    assert probe(store).honours_conditional_writes is (lane not in IGNORES_CREATE)
    assert list(store.objects("")) == []


def test_a_committed_folder_comes_back_whole(store: Store, files: dict[str, Path], tmp_path: Path) -> None:
    """Names, bytes and metadata, read through another opening of the store."""
    manifest = commit(store, FOLDER, files, {"step": 10, "note": "ü"})
    other = open_store(store.url)

    assert fetch(other, FOLDER, tmp_path / "back") == manifest == read_manifest(other, FOLDER) == verify(other, FOLDER)
    assert contents_of(tmp_path / "back") == {name: path.read_bytes() for name, path in files.items()}
    assert manifest.metadata == {"step": 10, "note": "ü"}


def test_what_is_committed_never_changes(store: Store, files: dict[str, Path]) -> None:
    """The same commit again is no error; another one is refused, and the first manifest stays."""
    first = commit(store, FOLDER, files, {"step": 10})

    assert commit(store, FOLDER, files, {"step": 10}) == first
    with pytest.raises(AlreadyCommitted):
        commit(store, FOLDER, files, {"step": 11})
    assert verify(store, FOLDER) == first


def test_a_folder_without_a_manifest_is_no_checkpoint(store: Store, files: dict[str, Path], tmp_path: Path) -> None:
    """Stopped right before the manifest, all files are there and nobody sees them."""
    claim = begin(store)
    prefix = checkpoint_prefix(RUN, CheckpointName("sft", 10, claim.token))

    def stop() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        commit(store, prefix, files, {}, before_manifest=stop)

    assert len(list(store.objects(prefix))) == len(files)
    assert checkpoints(store, RUN) == []
    for read in (read_manifest, verify):
        with pytest.raises(NotFound):
            read(store, prefix)
    with pytest.raises(NotFound):
        fetch(store, prefix, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", None),
        ("model.safetensors", lambda data: data[:-1]),
        ("model.safetensors", lambda data: data[:5000] + b"?" + data[5001:]),
        ("empty", lambda data: b"x"),
        ("tokenizer/vocab.json", None),
        (MANIFEST, lambda data: data[: len(data) // 2]),
        (MANIFEST, lambda data: data.replace(b'"step": 10', b'"step": 11')),
        (MANIFEST, lambda data: b""),
    ],
    ids=["missing", "short", "altered", "longer", "small-one-missing", "torn", "edited", "blank"],
)
def test_damage_is_found(
    store: Store, files: dict[str, Path], tmp_path: Path, name: str, damage: Callable[[bytes], bytes] | None
) -> None:
    """A missing, shorter, longer or altered file, or manifest: named, and nothing is put in place."""
    commit(store, FOLDER, files, {"step": 10})
    if damage is None:
        store.delete([FOLDER + name])
    else:
        store.put(FOLDER + name, damage(store.get(FOLDER + name)))
    expected = DamagedManifest if name == MANIFEST else Damaged

    with pytest.raises(expected) as caught:
        verify(store, FOLDER)
    assert caught.value.name == name
    with pytest.raises(expected):
        fetch(store, FOLDER, tmp_path / "back")
    assert {path.name for path in tmp_path.iterdir()} <= {"files", "store"}


def test_claims_in_a_race(store: Store, lane: str) -> None:
    """Of eight attempts that claim at once, exactly one may commit when all is quiet.

    Where writes are conditional, each has a number of its own. Elsewhere two may have been given the same one; the
    one whose token does not stand there in the end is stopped by the fence. Tokens differ everywhere, so their
    checkpoints do.
    """
    probe(store)
    for turn in range(3):
        run = f"run-{turn}"
        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(lambda host, run=run: claim_attempt(store, run, {"host": host}), "01234567"))
        standing = [claim for claim in claims if not is_superseded(store, claim)]

        assert len({claim.token for claim in claims}) == len(claims)
        assert len(standing) == 1
        assert standing[0].number == max(claim.number for claim in claims)
        if lane in (*ATOMIC_CREATE, "local"):
            assert sorted(claim.number for claim in claims) == list(range(1, 9))


def test_two_attempts_with_one_number_do_not_both_begin(store: Store) -> None:
    """Where the condition is ignored a claim can be overwritten; who lost it can neither begin nor commit."""
    loser = claim_attempt(store, RUN, {"host": "a"})
    winner = Claim(RUN, loser.number, f"{loser.number:04d}-zzzz")
    record = {"token": winner.token, "number": winner.number, "host": "b"}
    store.put(f"runs/{RUN}/attempts/{loser.number:04d}.json", json.dumps(record).encode())

    with pytest.raises(Superseded):
        write_restored(store, loser, None)
    write_restored(store, winner, None)

    assert is_superseded(store, loser)
    assert not is_superseded(store, winner)
    assert [attempt.token for attempt in attempts(store, RUN)] == [winner.token]


def test_an_older_attempt_can_spoil_nothing(store: Store, files: dict[str, Path]) -> None:
    """What it commits, or had on its way, after a newer one has begun is off the lineage, and it stops."""
    old = begin(store)
    first = save(store, old, 10, files)
    new = begin(store, first)

    with pytest.raises(Superseded):
        save(store, old, 20, files)
    late = CheckpointName("sft", 30, old.token)
    commit(store, checkpoint_prefix(RUN, late), files, {})  # as if it had passed the fence a moment before
    second = save(store, new, 20, files)

    assert checkpoints(store, RUN) == [second, first]


def test_pruning_keeps_the_newest_and_the_best(store: Store, files: dict[str, Path]) -> None:
    """A damaged checkpoint counts for nothing, so that the limit is always met by good ones."""
    claim = begin(store)
    names = [save(store, claim, step, files) for step in (10, 20, 30, 40, 50)]
    store.delete([checkpoint_prefix(RUN, names[3]) + "model.safetensors"])

    deleted = prune(store, claim, save_total_limit=2, best=names[0])

    assert deleted == [names[1]]
    assert checkpoints(store, RUN) == [names[4], names[3], names[2], names[0]]
    assert list(store.objects(checkpoint_prefix(RUN, names[1]))) == []
    for name in (names[4], names[2], names[0]):
        verify(store, checkpoint_prefix(RUN, name))


def test_what_killed_attempts_left_is_swept(store: Store, files: dict[str, Path]) -> None:
    """Folders without a manifest of older attempts go; what is committed, or on its way, stays."""
    old = begin(store)
    good = save(store, old, 10, files)
    torn = checkpoint_prefix(RUN, CheckpointName("sft", 20, old.token))
    store.upload(f"{torn}model.safetensors", files["model.safetensors"])
    half_an_artifact = artifact_prefix(RUN, "model", old.token)
    store.put(f"{half_an_artifact}weights", b"x")
    new = begin(store, good)
    own = checkpoint_prefix(RUN, CheckpointName("sft", 30, new.token))
    store.put(f"{own}on-its-way", b"x")

    assert sorted(sweep(store, new)) == sorted([torn, half_an_artifact])

    assert list(store.objects(torn)) == list(store.objects(half_an_artifact)) == []
    assert len(list(store.objects(own))) == 1
    assert checkpoints(store, RUN) == [good]
    assert sweep(store, new) == []


def test_metrics_are_one_record_a_step_along_the_lineage(store: Store, files: dict[str, Path]) -> None:
    """Steps after the restored checkpoint are taken from the newer attempt, those before from the older."""

    def write(claim: Claim, steps: range) -> None:
        writer = ChunkWriter(store, RUN, "metrics", claim.token)
        for step in steps:
            record = {"kind": "train", "stage": "sft", "step": step, "attempt": claim.number}
            writer.append(json.dumps(record) + "\n")
            if step % 2 == 0:
                writer.flush()
        writer.flush(final=True)

    old = begin(store)
    write(old, range(1, 8))
    new = begin(store, save(store, old, 4, files))
    write(new, range(5, 11))

    records = read_metrics(store, RUN)

    assert [(record["step"], record["attempt"]) for record in records] == [
        (step, old.number if step <= 4 else new.number) for step in range(1, 11)
    ]


def test_logs_are_read_on_from_where_one_was(store: Store) -> None:
    """Every byte once, in order, across attempts, and no character is torn."""
    first = begin(store)
    writer = ChunkWriter(store, RUN, "logs", first.token)
    writer.append(b"eins " + "ü".encode()[:1])
    writer.flush()
    text, cursor = read_log(store, RUN)
    assert text == "eins "

    writer.append("ü".encode()[1:] + b"\n")
    writer.flush(final=True)
    write_ended(store, first, {"exit_code": 75})
    second = begin(store)
    other = ChunkWriter(store, RUN, "logs", second.token)
    other.append("zwei\n")
    other.flush()

    assert read_log(store, RUN, cursor)[0] == "ü\nzwei\n"
    assert read_log(store, RUN)[0] == "eins ü\nzwei\n"


def test_records_of_an_attempt(store: Store) -> None:
    """Claim, restored, heartbeats and the end are read together; the end is said once."""
    claim = begin(store)
    for step in range(3):
        write_heartbeat(store, claim, {"step": step})

    assert write_ended(store, claim, {"exit_code": 0}) is True
    assert write_ended(store, claim, {"exit_code": 1}) is False

    (attempt,) = attempts(store, RUN)
    assert (attempt.number, attempt.token, attempt.began, attempt.restored) == (1, claim.token, True, None)
    assert attempt.claim["host"] == "here"
    assert attempt.ended is not None
    assert attempt.ended["exit_code"] == 0
