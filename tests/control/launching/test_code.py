"""What of the code around a recipe is kept with its run."""

import subprocess
from pathlib import Path

import pytest

from runner.control.launching import code
from runner.control.launching.code import record_code
from runner.git import revision_of


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "rewards.py").write_text("def reward():\n    return 1\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.invalid", "-C", str(tmp_path)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


def test_of_committed_code_the_revision_is_kept(repository: Path) -> None:
    revision = revision_of(repository)
    assert record_code(repository, revision, say=pytest.fail) == ({"git_revision": revision, "dirty": False}, {})


def test_changes_are_kept_as_an_input_without_secrets(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "a-secret-of-mine")
    (repository / "rewards.py").write_text("def reward():\n    return 2  # a-secret-of-mine\n")
    record, texts = record_code(repository, revision_of(repository), say=pytest.fail)
    ((key, data),) = texts.items()
    assert (record["dirty"], record.get("diff_key")) == (True, key)
    assert record["git_revision"] == str(revision_of(repository)).removesuffix("-dirty")
    assert b"+    return 2  # ***MY_API_KEY***" in data
    assert b"a-secret-of-mine" not in data


def test_changes_that_are_too_large_are_said_not_to_be_kept(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "MOST_BYTES", 10)
    (repository / "rewards.py").write_text("def reward():\n    return 2\n")
    said: list[str] = []
    record, texts = record_code(repository, revision_of(repository), say=said.append)
    assert (record["dirty"], record.get("diff_key"), texts) == (True, None, {})
    assert "are not kept with the run" in said[0]


def test_outside_a_repository_there_is_no_revision(tmp_path: Path) -> None:
    assert record_code(tmp_path, None, say=pytest.fail) == ({"git_revision": None, "dirty": False}, {})
