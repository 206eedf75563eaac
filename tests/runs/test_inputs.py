"""The files that travelled with a run are those that it was launched with, or are not used."""

from pathlib import Path

import pytest

from runner.errors import UserError
from runner.runs.inputs import fetch_input
from runner.storage.commit import digest
from runner.storage.manifest import Damaged
from support.fakes.memory_store import MemoryStore

REWARDS = b"def right(completions, **columns):\n    return [0.0 for _ in completions]\n"


@pytest.fixture
def key(memory: MemoryStore, tmp_path: Path) -> str:
    source = tmp_path / "rewards.py"
    source.write_bytes(REWARDS)
    key = f"inputs/{digest(source)}/rewards.py"
    memory.upload(f"runs/run/{key}", source)
    return key


def test_an_input_is_fetched_once(memory: MemoryStore, key: str, tmp_path: Path) -> None:
    path = fetch_input(memory, "run", key, tmp_path / "shared")
    assert path.read_bytes() == REWARDS
    memory.data.clear()
    assert fetch_input(memory, "run", key, tmp_path / "shared") == path


def test_an_input_that_was_altered_is_refused_and_not_kept(memory: MemoryStore, key: str, tmp_path: Path) -> None:
    memory.data[f"runs/run/{key}"] = REWARDS + b"import os\n"
    with pytest.raises(Damaged, match=r"rewards.py: it was altered after the launch"):
        fetch_input(memory, "run", key, tmp_path / "shared")
    assert not (tmp_path / "shared" / key).exists()


def test_a_local_copy_that_was_altered_or_cut_short_is_fetched_again(
    memory: MemoryStore, key: str, tmp_path: Path
) -> None:
    path = fetch_input(memory, "run", key, tmp_path / "shared")
    path.write_bytes(REWARDS[:10])
    assert fetch_input(memory, "run", key, tmp_path / "shared").read_bytes() == REWARDS


@pytest.mark.parametrize(
    "odd", ["inputs/x", "inputs/../../../etc/passwd", "/etc/passwd", "inputs/{}/a/b", "inputs/{}/.."]
)
def test_another_key_is_no_inputs(memory: MemoryStore, tmp_path: Path, odd: str) -> None:
    with pytest.raises(Damaged):
        fetch_input(memory, "run", odd.format("0" * 64), tmp_path / "shared")
    assert list(tmp_path.rglob("*")) == []


def test_an_input_is_not_written_through_a_link(memory: MemoryStore, key: str, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shared/inputs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of"):
        fetch_input(memory, "run", key, tmp_path / "shared")
    assert list((tmp_path / "elsewhere").iterdir()) == []
