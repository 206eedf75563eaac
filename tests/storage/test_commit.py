"""A folder is committed whole or not at all, and what comes back is what was committed or an error."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.runs.attempts import Superseded
from runner.storage.commit import AlreadyCommitted, commit, digest, fetch, read_manifest, verify
from runner.storage.local import LocalStore
from runner.storage.manifest import MANIFEST, Damaged, DamagedManifest
from runner.storage.retry import after, retrying
from runner.storage.store import NotFound, Store, StoreUnavailable
from support.fakes.memory_store import MemoryStore

PREFIX = "runs/r/checkpoints/sft-000010-0001-abcd/"
CONTENTS = {
    "model.safetensors": b"weights" * 1000,
    "optimizer.pt": b"moments",
    "tokenizer/vocab.json": b"",
    "rng": b"7",
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The files of a checkpoint on this machine's disk."""
    staged = {}
    for name, data in CONTENTS.items():
        path = tmp_path / "staged" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        staged[name] = path
    return staged


@pytest.mark.parametrize("lane", ["local", "moto"])
@pytest.mark.parametrize("move", [False, True])
def test_what_was_committed_comes_back(store: Store, files: dict[str, Path], tmp_path: Path, move: bool) -> None:
    """Every byte, every name, the metadata."""
    committed = commit(store, PREFIX, files, {"step": 10, "token": "0001-abcd"}, move=move)
    assert committed.metadata == {"step": 10, "token": "0001-abcd"}
    assert read_manifest(store, PREFIX) == verify(store, PREFIX) == committed
    assert fetch(store, PREFIX, tmp_path / "restored") == committed
    for name, data in CONTENTS.items():
        assert (tmp_path / "restored" / name).read_bytes() == data


def test_the_manifest_comes_last(files: dict[str, Path]) -> None:
    """After each file, and after the caller's own last word."""
    order: list[str] = []
    store = MemoryStore(step=order.append)
    commit(store, PREFIX, files, {}, before_manifest=lambda: order.append("before_manifest"))
    writes = [request for request in order if not request.startswith("list")]
    assert sorted(writes[:-2]) == sorted(f"upload {PREFIX}{name}" for name in CONTENTS)
    assert writes[-2:] == ["before_manifest", f"create {PREFIX}{MANIFEST}"]


def test_the_last_word_may_be_no(memory: MemoryStore, files: dict[str, Path]) -> None:
    """A superseded attempt's checkpoint stays invisible."""

    def superseded() -> None:
        raise Superseded("attempt 2 has begun")

    with pytest.raises(Superseded):
        commit(memory, PREFIX, files, {}, before_manifest=superseded)
    with pytest.raises(NotFound):
        read_manifest(memory, PREFIX)


@pytest.mark.parametrize("name", [*CONTENTS, "list", MANIFEST])
def test_a_commit_that_failed_is_no_commit_and_can_be_repeated(files: dict[str, Path], name: str) -> None:
    """Whichever request fails."""
    failing = [True]

    def fail_once(request: str) -> None:
        if failing[0] and (request.startswith(name) or request.endswith(name)):
            failing[0] = False
            raise StoreUnavailable("away")

    store = MemoryStore(step=fail_once)
    with pytest.raises(StoreUnavailable):
        commit(store, PREFIX, files, {"step": 10}, move=True)
    with pytest.raises(NotFound):
        read_manifest(store, PREFIX)
    commit(store, PREFIX, files, {"step": 10}, move=True)
    verify(store, PREFIX)


def test_a_store_that_comes_back_is_waited_for(files: dict[str, Path]) -> None:
    """Only the request that failed is repeated, not the whole upload."""
    uploads: list[str] = []
    optimizer = f"upload {PREFIX}optimizer.pt"

    def fail_twice(request: str) -> None:
        if request.startswith("upload"):
            uploads.append(request)
            if request == optimizer and uploads.count(optimizer) <= 2:
                raise StoreUnavailable("away")

    patiently = partial(retrying, until=after(30), first_seconds=0.01)
    commit(MemoryStore(step=fail_twice), PREFIX, files, {}, call=patiently)
    assert sorted(uploads) == sorted([f"upload {PREFIX}{name}" for name in CONTENTS] + [optimizer] * 2)


def test_committing_the_same_again_changes_nothing(memory: MemoryStore, files: dict[str, Path]) -> None:
    """The answer to the manifest may be all that was lost."""
    assert commit(memory, PREFIX, files, {"step": 10}) == commit(memory, PREFIX, files, {"step": 10})


def test_what_is_committed_never_changes(memory: MemoryStore, files: dict[str, Path]) -> None:
    """Other contents under the same key are refused, and the first manifest stays."""
    first = commit(memory, PREFIX, files, {"step": 10})
    with pytest.raises(AlreadyCommitted):
        commit(memory, PREFIX, files, {"step": 11})
    assert read_manifest(memory, PREFIX) == first


def test_a_file_that_arrived_short_is_not_committed(files: dict[str, Path]) -> None:
    """A server that says yes and keeps half is found out before the manifest."""

    class Lossy(MemoryStore):
        def upload(self, key: str, path: Path, *, move: bool = False) -> None:
            super().upload(key, path)
            self.data[key] = self.data[key][:3]

    store = Lossy()
    with pytest.raises(StoreUnavailable, match=r"model\.safetensors did not arrive complete"):
        commit(store, PREFIX, files, {})
    assert PREFIX + MANIFEST not in store.data


@pytest.mark.parametrize("name", ["../outside", "/outside", "manifest.json", "a//b", ""])
def test_a_bad_name_is_refused_before_anything_is_sent(memory: MemoryStore, tmp_path: Path, name: str) -> None:
    """The manifest would be refused by every reader."""
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(ValueError, match="not a file's name"):
        commit(memory, PREFIX, {"good": tmp_path / "file", name: tmp_path / "file"}, {})
    assert memory.data == {}


def test_metadata_that_json_cannot_say_is_refused_before_anything_is_sent(
    memory: MemoryStore, files: dict[str, Path]
) -> None:
    """Not after ten minutes of uploading."""
    with pytest.raises(ValueError, match="Out of range"):
        commit(memory, PREFIX, files, {"loss": float("nan")})
    assert memory.data == {}


Damage = Callable[[MemoryStore], None]


def _set(name: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(store: MemoryStore) -> None:
        store.data[PREFIX + name] = change(store.data[PREFIX + name])

    return damage


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (lambda store: store.delete([PREFIX + "optimizer.pt"]), "optimizer.pt", "missing"),
        (_set("optimizer.pt", lambda data: data[:-1]), "optimizer.pt", "6 bytes instead of 7"),
        (_set("optimizer.pt", lambda data: data + b"!"), "optimizer.pt", "8 bytes instead of 7"),
        (_set("optimizer.pt", lambda data: b"M" + data[1:]), "optimizer.pt", "contents have changed"),
        (_set("tokenizer/vocab.json", lambda data: b"{}"), "tokenizer/vocab.json", "2 bytes instead of 0"),
        (_set(MANIFEST, lambda data: data[:100]), MANIFEST, "not JSON"),
        (_set(MANIFEST, lambda data: data.replace(b'"size": 7', b'"size": 8')), MANIFEST, "digest does not match"),
    ],
)
def test_damage_is_named_and_nothing_is_restored(
    memory: MemoryStore, files: dict[str, Path], tmp_path: Path, damage: Damage, name: str, reason: str
) -> None:
    """A truncated, altered or missing file: the folder stays as it was."""
    commit(memory, PREFIX, files, {})
    damage(memory)
    for check in (lambda: verify(memory, PREFIX), lambda: fetch(memory, PREFIX, tmp_path / "out" / "restored")):
        with pytest.raises(Damaged, match=reason) as caught:
            check()
        assert caught.value.name == name
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_file_that_has_grown_is_not_downloaded(
    memory: MemoryStore, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It might fill the disk before its digest is compared."""
    commit(memory, PREFIX, files, {})
    memory.data[PREFIX + "optimizer.pt"] += b"!"
    downloaded: list[str] = []
    monkeypatch.setattr(memory, "download", lambda key, path: downloaded.append(key))
    with pytest.raises(Damaged, match="8 bytes instead of 7"):
        fetch(memory, PREFIX, tmp_path / "restored")
    assert downloaded == []


def test_a_quick_look_sees_what_is_missing_but_not_what_has_changed(
    memory: MemoryStore, files: dict[str, Path]
) -> None:
    """Names and sizes from one listing, no file read."""
    requests: list[str] = []
    commit(memory, PREFIX, files, {})
    verify(memory.seen_by(requests.append), PREFIX, contents=False)
    assert requests == [f"get {PREFIX}{MANIFEST}", f"list {PREFIX}"]
    memory.data[PREFIX + "optimizer.pt"] = b"momentS"
    verify(memory, PREFIX, contents=False)
    memory.data[PREFIX + "optimizer.pt"] = b"moment"
    with pytest.raises(Damaged):
        verify(memory, PREFIX, contents=False)


def test_no_manifest_no_checkpoint(memory: MemoryStore, files: dict[str, Path], tmp_path: Path) -> None:
    """All files may be there."""
    commit(memory, PREFIX, files, {})
    memory.delete([PREFIX + MANIFEST])
    for check in (
        lambda: read_manifest(memory, PREFIX),
        lambda: verify(memory, PREFIX),
        lambda: fetch(memory, PREFIX, tmp_path / "restored"),
    ):
        with pytest.raises(NotFound):
            check()
    assert not (tmp_path / "restored").exists()


def test_fetching_into_a_folder_in_use_replaces_what_is_of_the_same_name(
    memory: MemoryStore, files: dict[str, Path], tmp_path: Path
) -> None:
    """Pulling artifacts twice into the same place works, and other files there stay."""
    commit(memory, PREFIX, files, {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    (tmp_path / "out/rng").write_text("old")
    for _ in range(2):
        fetch(memory, PREFIX, tmp_path / "out")
        assert (tmp_path / "out/notes.txt").read_text() == "mine"
        assert (tmp_path / "out/rng").read_bytes() == b"7"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "staged"}


def test_a_manifest_cannot_write_outside_the_folder(memory: MemoryStore, tmp_path: Path) -> None:
    """Whatever somebody put into the bucket."""
    memory.data[PREFIX + MANIFEST] = b'{"version": 1, "files": [{"name": "../../x"}]}'
    with pytest.raises(DamagedManifest):
        fetch(memory, PREFIX, tmp_path / "restored")


def test_files_go_up_side_by_side(files: dict[str, Path]) -> None:
    """Four uploads wait for each other here, which none could alone."""
    together = threading.Barrier(4, timeout=120)

    def meet(request: str) -> None:
        if request.startswith("upload"):
            together.wait()

    memory = MemoryStore(step=meet)
    commit(memory, PREFIX, files, {})
    assert PREFIX + MANIFEST in memory.data


def test_an_empty_folder_can_be_committed(tmp_path: Path) -> None:
    """A manifest without files is still a manifest."""
    store = LocalStore(tmp_path / "store")
    commit(store, PREFIX, {}, {"note": "nothing to keep"})
    assert fetch(store, PREFIX, tmp_path / "restored").files == ()
    assert (tmp_path / "restored").is_dir()


def test_a_digest_is_blake3(tmp_path: Path) -> None:
    """As b3sum prints it, so that people can check by hand."""
    (tmp_path / "file").write_bytes(b"abc")
    assert digest(tmp_path / "file") == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def test_the_source_of_a_failure_is_kept(files: dict[str, Path]) -> None:
    """A full disk on the store's side is neither swallowed nor renamed."""

    def refuse(request: str) -> Any:
        if "optimizer" in request:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        commit(MemoryStore(step=refuse), PREFIX, files, {})
