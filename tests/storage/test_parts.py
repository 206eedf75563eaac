"""A checkpoint of several writers is whole when all of them have said what they wrote, and nothing before."""

from pathlib import Path

import pytest

from runner.storage.commit import commit, fetch, read_manifest
from runner.storage.local import LocalStore
from runner.storage.parts import PartLeftOut, commit_part, wait_for_parts
from runner.storage.store import NotFound, StoreUnavailable

PREFIX = "runs/run/checkpoints/sft-000003-0001-abcd/"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def written(folder: Path, name: str) -> dict[str, Path]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"what {name} holds")
    return {name: path}


def test_the_parts_of_all_make_the_whole(store: LocalStore, tmp_path: Path) -> None:
    commit_part(store, PREFIX, 1, written(tmp_path, "step/one.pt"))
    commit_part(store, PREFIX, 1, written(tmp_path, "step/one.pt"))  # once more, after an answer that got lost
    with pytest.raises(NotFound):
        read_manifest(store, PREFIX)
    commit_part(store, PREFIX, 2, written(tmp_path, "step/two.pt"))
    commit(
        store,
        PREFIX,
        written(tmp_path, "step/zero.pt"),
        {},
        others=lambda: wait_for_parts(store, PREFIX, (1, 2), until=lambda: False),
    )
    fetch(store, PREFIX, tmp_path / "back")
    found = {path.relative_to(tmp_path / "back").as_posix() for path in (tmp_path / "back").rglob("*.pt")}
    assert found == {"step/zero.pt", "step/one.pt", "step/two.pt"}


def test_a_part_that_does_not_come_is_not_waited_for_beyond_the_end(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="process 1"):
        wait_for_parts(store, PREFIX, (1,), until=lambda: True)
    assert not list(store.objects(PREFIX))


def test_a_part_that_was_given_up_gives_the_whole_up(store: LocalStore, tmp_path: Path) -> None:
    commit_part(store, PREFIX, 1, None)
    with pytest.raises(PartLeftOut):
        commit(
            store,
            PREFIX,
            written(tmp_path, "zero.pt"),
            {},
            others=lambda: wait_for_parts(store, PREFIX, (1,), until=lambda: False),
        )
    with pytest.raises(NotFound):
        read_manifest(store, PREFIX)
