"""What is pulled is what was committed, however often the pull is cut short."""

import json
from pathlib import Path

import pytest

from runner.control import pull as control_pull
from runner.control.pull import Collected
from runner.errors import UserError
from runner.storage.commit import commit
from runner.storage.local import LocalStore
from support.bench import Bench


def pull(bench: Bench, folder: Path, run_id: str = "run") -> Collected:
    return control_pull.pull(bench.store, run_id, folder, say=lambda sentence: None)


@pytest.fixture
def finished(bench: Bench) -> Bench:
    bench.submit()
    assert bench.supervise("run", {"1": ["kill", 5]}).returncode == 0
    return bench


def test_a_finished_run_comes_home_whole(finished: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    collected = pull(finished, folder)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "artifacts/model/extra/config.json",
        "artifacts/model/manifest.json",
        "artifacts/model/model.safetensors",
        "metrics.jsonl",
        "result.json",
        "run.json",
    ]
    assert len(collected.fetched) == 6
    assert (folder / "artifacts/model/model.safetensors").read_bytes() == b"weights" * 1000
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 11))


def test_what_is_there_is_not_fetched_again(finished: Bench, tmp_path: Path) -> None:
    pull(finished, tmp_path / "out")
    again = pull(finished, tmp_path / "out")
    assert (again.fetched, len(again.already_there)) == ([], 6)


def test_what_is_damaged_here_is_fetched_again(finished: Bench, tmp_path: Path) -> None:
    """A pull that was cut short, and a file that somebody has altered since."""
    pull(finished, tmp_path / "out")
    (tmp_path / "out/artifacts/model/model.safetensors").write_bytes(b"weightz" * 1000)
    (tmp_path / "out/metrics.jsonl").unlink()
    again = pull(finished, tmp_path / "out")
    assert sorted(again.fetched) == ["artifacts/model/model.safetensors", "metrics.jsonl"]
    assert (tmp_path / "out/artifacts/model/model.safetensors").read_bytes() == b"weights" * 1000


def test_what_is_damaged_in_the_store_is_refused(finished: Bench, tmp_path: Path) -> None:
    assert isinstance(finished.store, LocalStore)
    weights = next((finished.store.root / "runs/run/artifacts").rglob("model.safetensors"))
    weights.write_bytes(b"weightz" * 1000)
    with pytest.raises(UserError, match="damaged"):
        pull(finished, tmp_path / "out")
    assert not (tmp_path / "out/artifacts/model/model.safetensors").exists()


def test_a_run_that_goes_on_gives_what_it_has_and_later_the_rest(bench: Bench, tmp_path: Path) -> None:
    bench.submit()
    bench.supervise("run", {"1": ["stop", 5]})
    said: list[str] = []
    control_pull.pull(bench.store, "run", tmp_path / "out", say=said.append)
    assert "has not ended" in said[0]
    assert not (tmp_path / "out/result.json").exists()
    assert len((tmp_path / "out/metrics.jsonl").read_text().splitlines()) == 5
    bench.supervise("run", {})
    pull(bench, tmp_path / "out")
    assert (tmp_path / "out/result.json").exists()
    assert len((tmp_path / "out/metrics.jsonl").read_text().splitlines()) == 10


def test_an_older_version_of_an_artifact_leaves_nothing_behind(bench: Bench, tmp_path: Path) -> None:
    """Files of the user's own stay."""
    bench.submit()
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    commit(bench.store, "runs/run/artifacts/model/0001-aaaa/", {"old": one, "both": one}, {})
    pull(bench, tmp_path / "out")
    (tmp_path / "out/artifacts/model/notes.txt").write_text("mine")
    commit(bench.store, "runs/run/artifacts/model/0002-bbbb/", {"new": two, "both": two}, {})
    pull(bench, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/artifacts/model").iterdir())
    assert names == ["both", "manifest.json", "new", "notes.txt"]
    assert (tmp_path / "out/artifacts/model/both").read_text() == "2"


def test_a_folder_with_something_else_in_it_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.submit("run")
    bench.submit("other")
    pull(bench, tmp_path / "out", "other")
    with pytest.raises(UserError, match="holds another run, other"):
        pull(bench, tmp_path / "out", "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="is not empty"):
        pull(bench, tmp_path / "full", "run")
    with pytest.raises(UserError, match="is no folder"):
        pull(bench, tmp_path / "full/thesis.tex", "run")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
