"""A folder as a store: what only a file system has (hard links, half-written files, permissions, a full disk)."""

import errno
import os
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.storage.atomic import PART
from runner.storage.local import LocalStore
from runner.storage.store import NotFound, StoreFull, StoreUnavailable


@pytest.fixture
def folder(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def everything_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def test_nothing_is_made_before_the_first_write(folder: LocalStore) -> None:
    """Listing the runs of a store that does not exist yet leaves no folder behind."""
    assert list(folder.objects("runs/")) == []
    assert folder.folders("runs/") == []
    folder.delete(["runs/r/run.json"])
    with pytest.raises(NotFound):
        folder.get("runs/r/run.json")
    assert not folder.root.exists()


def test_a_file_given_away_is_linked_and_not_copied(folder: LocalStore, tmp_path: Path) -> None:
    """A checkpoint of many gigabytes costs no second copy on the same disk."""
    staged = tmp_path / "staged"
    staged.write_bytes(b"weights")
    folder.upload("runs/r/weights", staged, move=True)
    assert (folder.root / "runs/r/weights").stat().st_ino == staged.stat().st_ino


def test_a_file_that_is_not_given_away_is_copied(folder: LocalStore, tmp_path: Path) -> None:
    """Whoever writes to it later does not write to the store."""
    source = tmp_path / "data.jsonl"
    source.write_bytes(b"before")
    folder.upload("runs/r/data", source)
    source.write_bytes(b"after!")
    assert folder.get("runs/r/data") == b"before"


def test_a_link_is_followed(folder: LocalStore, tmp_path: Path) -> None:
    """Caches of models are full of symbolic links; the store holds what they point at."""
    (tmp_path / "blob").write_bytes(b"weights")
    (tmp_path / "link").symlink_to(tmp_path / "blob")
    folder.upload("runs/r/linked", tmp_path / "link", move=True)
    stored = folder.root / "runs/r/linked"
    assert not stored.is_symlink()
    assert stored.read_bytes() == b"weights"


def test_where_no_hard_link_can_be_made_it_is_copied(
    folder: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across file systems, and on those that have none."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "staged").write_bytes(b"weights")
    folder.upload("runs/r/weights", tmp_path / "staged", move=True)
    assert folder.get("runs/r/weights") == b"weights"
    assert folder.create("runs/r/run.json", b"1")
    assert not folder.create("runs/r/run.json", b"2")
    assert folder.get("runs/r/run.json") == b"1"


def test_a_file_that_is_being_written_is_no_object(folder: LocalStore) -> None:
    """What a kill leaves behind is neither listed nor a key, and goes with the last object beside it."""
    folder.put("runs/r/checkpoints/c/weights", b"1")
    left = folder.root / f"runs/r/checkpoints/c/{PART}0123456789abcdef"
    left.write_bytes(b"half")
    assert [info.key for info in folder.objects("")] == ["runs/r/checkpoints/c/weights"]
    with pytest.raises(ValueError, match="not a key"):
        folder.get(f"runs/r/checkpoints/c/{left.name}")
    folder.delete(["runs/r/checkpoints/c/weights"])
    assert everything_below(folder.root) == []


def test_a_folder_with_nothing_but_a_cut_short_write_can_be_removed(folder: LocalStore) -> None:
    """It is named, and deleting any key in it removes it."""
    left = folder.root / f"runs/r/checkpoints/c/{PART}0123456789abcdef"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert list(folder.objects("runs/r/checkpoints/")) == []
    assert folder.folders("runs/r/checkpoints/") == ["c"]
    folder.delete(["runs/r/checkpoints/c/manifest.json"])
    assert folder.folders("runs/r/checkpoints/") == []


def test_deleting_keeps_the_folders_of_others(folder: LocalStore) -> None:
    """Only what is empty goes, and never the root."""
    folder.put("runs/r/a/1", b"")
    folder.put("runs/r/b/1", b"")
    folder.delete(["runs/r/a/1", "runs/r/a/2", "runs/r/a"])
    assert everything_below(folder.root) == ["runs", "runs/r", "runs/r/b", "runs/r/b/1"]
    folder.delete(["runs/r/b/1"])
    assert folder.root.is_dir()


def test_a_full_disk_says_so(folder: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not "unavailable": trying again would not help."""

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreFull) as caught:
        folder.put("runs/r/a", b"1")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(StoreFull):
        folder.create("runs/r/a", b"1")
    monkeypatch.undo()
    assert list(folder.objects("")) == []


def test_a_disk_that_fails_may_come_back(folder: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network mount that hangs or an I/O error is worth trying again."""

    def fail(path: Path, flags: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StoreUnavailable, match="Input/output"):
        folder.get("runs/r/a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_the_callers_mistake(folder: LocalStore) -> None:
    """Said with the path and what to do."""
    folder.root.mkdir()
    folder.root.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        folder.put("runs/r/a", b"1")


def test_a_file_in_the_way_is_the_callers_mistake(folder: LocalStore) -> None:
    """The store's path, or a folder in it, is a file."""
    folder.root.write_text("a file")
    with pytest.raises(UserError, match="cannot be used"):
        folder.put("runs/r/a", b"1")


@pytest.mark.parametrize(
    "key", ["../outside", "/etc/passwd", "runs/../../outside", "", "runs//r", "runs/r/", "a\0b", "C:/x", "a" * 256]
)
def test_no_key_leaves_the_root(folder: LocalStore, tmp_path: Path, key: str) -> None:
    """Whoever can name a key cannot name a file elsewhere."""
    source = tmp_path / "source"
    source.write_bytes(b"1")
    for call in (
        lambda: folder.get(key),
        lambda: folder.put(key, b""),
        lambda: folder.create(key, b""),
        lambda: folder.upload(key, source),
        lambda: folder.download(key, tmp_path / "target"),
        lambda: folder.delete([key]),
    ):
        with pytest.raises(ValueError, match="not a key"):
            call()
    for prefix in ("..", "../", "runs", "/"):
        with pytest.raises(ValueError, match="not a prefix"):
            folder.objects(prefix)
        with pytest.raises(ValueError, match="not a prefix"):
            folder.folders(prefix)
    assert everything_below(tmp_path) == ["source"]


def test_a_missing_source_is_no_missing_object(folder: LocalStore, tmp_path: Path) -> None:
    """It is an error on this side, with the path that is missing."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folder.upload("runs/r/a", tmp_path / "nowhere")
    assert not folder.root.exists()


def test_ten_thousand_runs_are_named(folder: LocalStore) -> None:
    """In their order, whatever order the file system gives them in."""
    for number in range(10_000):
        (folder.root / f"runs/run-{number:05d}").mkdir(parents=True)
    names = folder.folders("runs/")
    assert len(names) == 10_000
    assert names == sorted(names)


def test_a_folder_under_the_key_of_an_object_is_the_callers_mistake(folder: LocalStore) -> None:
    folder.put("runs/run/run.json/x", b"")
    with pytest.raises(UserError, match="Is a directory"):
        folder.create("runs/run/run.json", b"{}")
