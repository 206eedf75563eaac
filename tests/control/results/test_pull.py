"""What is pulled is what was committed, however often the pull is cut short."""

import json
from pathlib import Path

import pytest

from runner.control.results import pull as control_pull
from runner.control.results.pull import Collected
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
    with pytest.raises(UserError, match="is not a folder"):
        pull(bench, tmp_path / "full/thesis.tex", "run")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("../../../.ssh", "artifacts/model/0001-aaaa/"),
        ("/tmp/outside", "artifacts/model/0001-aaaa/"),
        ("..", "artifacts/model/0001-aaaa/"),
        ("model", "../../other/artifacts/model/0001-aaaa/"),
        ("model", "/etc/"),
        ("a\\b", "artifacts/model/0001-aaaa/"),
        ("C:", "artifacts/model/0001-aaaa/"),
        ("x" * 300, "artifacts/model/0001-aaaa/"),
    ],
)
def test_an_artifacts_name_leads_nowhere_else(finished: Bench, tmp_path: Path, name: str, key: str) -> None:
    assert isinstance(finished.store, LocalStore)
    path = finished.store.root / "runs/run/result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "artifacts": {name: key}}))
    before = sorted(tmp_path.rglob("*"))
    done = finished.runner("pull", "run", str(tmp_path / "home/out"))
    assert done.returncode == 1
    assert "damaged in the store: runs/run/result.json" in done.stderr
    new = {path for path in tmp_path.rglob("*") if path not in before}
    assert {path.relative_to(tmp_path / "home/out") for path in new if path.is_file()} <= {Path("run.json")}


@pytest.mark.parametrize("link", ["artifacts", "artifacts/model", "artifacts/model/extra"])
def test_nothing_is_pulled_through_a_link(finished: Bench, tmp_path: Path, link: str) -> None:
    """Also not what an older version of the artifact has left, which is deleted."""
    pull(finished, tmp_path / "out")
    victim = tmp_path / "victim"
    (tmp_path / "out" / link).rename(victim)
    for file in victim.rglob("*"):
        if file.is_file() and file.name != "manifest.json":
            file.write_bytes(b"precious")
    (tmp_path / "out" / link).symlink_to(victim)
    before = {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="is a link that leads out of"):
        pull(finished, tmp_path / "out")
    assert {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()} == before


def test_a_file_that_is_a_link_is_replaced_and_not_written_through(finished: Bench, tmp_path: Path) -> None:
    (tmp_path / "out/artifacts/model").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    pull(finished, tmp_path / "again")
    (tmp_path / "out/run.json").write_bytes((tmp_path / "again/run.json").read_bytes())
    for name in ("result.json", "result.json.part", "metrics.jsonl", "artifacts/model/model.safetensors"):
        (tmp_path / "out" / name).symlink_to(victim)
    pull(finished, tmp_path / "out")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "out/artifacts/model/model.safetensors").read_bytes() == b"weights" * 1000
