"""A run comes into being whole, once, and without a secret in it."""

import errno
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from blake3 import blake3

from runner.control.launching.submit import checked_name, new_run_id, submit
from runner.errors import UserError
from runner.git import revision_of
from runner.runs.launches import needed_environment, write_submission
from runner.runs.layout import is_run_id
from runner.runs.submission.run_json import run_json
from runner.storage.local import LocalStore
from runner.storage.store import NotFound, StoreFull
from support.bench import Bench

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def document(run_id: str = "run") -> dict[str, object]:
    recipe = {"name": "small"}
    created = NOW.isoformat()
    return run_json(run_id=run_id, recipe=recipe, settings={}, recipe_digest="d", git_revision=None, created_at=created)


@pytest.mark.parametrize("name", ["small", "a" * 100])
def test_a_fresh_id_tells_what_and_when(name: str) -> None:
    run_id = new_run_id(name, NOW.astimezone(timezone(timedelta(hours=5))))
    assert re.fullmatch(r"(small|a+)-20260102-030405-[a-z0-9]{4}", run_id)
    assert is_run_id(run_id)
    assert run_id != new_run_id(name, NOW)


@pytest.mark.parametrize("name", ["last", "My Run", "-x", "a/b", "", "a" * 101])
def test_a_name_that_can_be_no_id_is_refused(name: str) -> None:
    with pytest.raises(UserError) as refused:
        checked_name(name)
    if name == "My Run":
        assert "'my-run'" in str(refused.value)


def test_inputs_come_before_the_record_that_names_them(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("{}")
    key = f"inputs/{blake3(b'{}').hexdigest()}/data.jsonl"
    assert submit(bench.store, document(), {key: data})
    assert bench.store.get(f"runs/run/{key}") == b"{}"


def test_a_file_that_changes_meanwhile_stops_the_submission(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("changed")
    with pytest.raises(UserError, match="has changed"):
        submit(bench.store, document(), {f"inputs/{'0' * 64}/data.jsonl": data})
    with pytest.raises(NotFound):
        bench.store.get("runs/run/run.json")


def test_an_id_is_given_once(bench: Bench) -> None:
    assert submit(bench.store, document(), {})
    assert not submit(bench.store, document(), {})


def test_the_first_submission_says_what_a_run_needs(bench: Bench) -> None:
    submit(bench.store, document(), {})
    assert needed_environment(bench.store, "run") == []
    write_submission(bench.store, "run", pid=1, environment=["B", "A"])
    write_submission(bench.store, "run", pid=2, environment=[])
    assert needed_environment(bench.store, "run") == ["A", "B"]


def test_the_revision_is_that_of_the_recipes_folder(tmp_path: Path) -> None:
    assert revision_of(tmp_path) is None
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "recipe.yaml").write_text("name: a")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert revision_of(tmp_path) == commit
    (tmp_path / "recipe.yaml").write_text("name: b")
    assert revision_of(tmp_path) == f"{commit}-dirty"


def test_a_full_store_is_not_blamed_on_the_data_file(bench: Bench, tmp_path: Path) -> None:
    """The file is fine, and larger than what is left in the store."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" * 1000)
    key = f"inputs/{blake3(path.read_bytes()).hexdigest()}/rows.jsonl"

    class Full(LocalStore):
        def upload(self, key: str, path: Path, *, move: bool = False) -> None:
            raise StoreFull(errno.ENOSPC, "no room left in the store (Disk quota exceeded)", str(self.root))

    store = Full(tmp_path / "full")
    with pytest.raises(StoreFull, match="no room left in the store"):
        submit(store, document(), {key: path})
    assert list(store.objects("")) == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs a file system of its own")
def test_launching_into_a_full_store_names_the_store(bench: Bench, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        rows = tmp_path / "rows.jsonl"
        rows.write_text('{"prompt": "a", "completion": "b"}\n' * 10_000)
        recipe = bench.recipe()
        recipe.write_text(recipe.read_text().replace("builtin:python-docstrings", str(rows)))
        done = bench.runner("launch", str(recipe), "--store", str(small / "store"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.returncode == 1, done
    assert "no room left in the store" in done.stderr
    assert "rows.jsonl" not in done.stderr[done.stderr.index("Error: ") :]
    assert "--store" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_refuses_us_is_named_and_not_the_file(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = bench.runner("launch", str(bench.recipe()), "--store", str(tmp_path / "file" / "store"))
    assert done.returncode == 2
    assert str(tmp_path / "file") in done.stderr
