"""What is pulled is what was committed, however often the pull is cut short."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from runner.control.results import pull as control_pull
from runner.control.results.pull import Collected
from runner.errors import UserError
from runner.storage.commit import commit
from runner.storage.local import LocalStore
from runner.storage.open import open_store
from runner.storage.store import Store
from support.bench import Bench, wait_until
from support.servers.s3 import BUCKET, S3Server
from support.stored import artifact, attempted, ended, submitted


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


MIB = 1 << 20
SLOW_PULL = """
import sys, time
from runner.cli.main import main
from runner.storage.local import LocalStore
read = LocalStore._read
def slowly(self, reader, key):
    time.sleep(0.05)
    return read(self, reader, key)
LocalStore._read = slowly
main()
"""


def large_run(store: Store, size: int) -> None:
    submitted(store, "run")
    attempted(store, "run")
    ended(
        store, "run", artifacts={"model": artifact(store, "run", size=size), "extra": artifact(store, "run", "extra")}
    )


def test_a_pull_that_is_killed_goes_on_within_the_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    large_run(bench.store, 64 * MIB)
    out = bench.folder / "out"
    process = bench.start([sys.executable, "-c", SLOW_PULL, "pull", "run", str(out)], {})
    model = out / "artifacts/model"

    def arrived() -> int:
        return sum(path.stat().st_size for path in model.glob(".runner-part-*"))

    wait_until(lambda: model.exists() and arrived() >= 4 * MIB)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = arrived()
    assert 4 * MIB <= before < 64 * MIB
    assert not (model / "model.safetensors").exists()
    read: list[int] = []
    original = LocalStore._read

    def counted(self: LocalStore, reader: object, key: str) -> bytes:
        data = original(self, reader, key)  # type: ignore[arg-type]
        read.append(len(data) if key.endswith("model/0001-aaaa/model.safetensors") else 0)
        return data

    monkeypatch.setattr(LocalStore, "_read", counted)
    collected = pull(bench, out)
    assert sum(read) == 64 * MIB - before
    assert "artifacts/model/model.safetensors" in collected.fetched
    assert (model / "model.safetensors").read_bytes() == b"w" * (64 * MIB)
    assert list(out.rglob(".runner-part-*")) == []


@pytest.mark.parametrize("server", ["ministack", "rclone", "swift"])
def test_from_a_bucket_too_a_file_that_was_begun_is_continued(
    bench: Bench, use_server: Callable[[str], S3Server], server: str, tmp_path: Path
) -> None:
    use_server(server)
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")
    data = bytes(range(256)) * (80 * 1024)  # 20 MiB: several ranges
    source = tmp_path / "source"
    source.write_bytes(data)
    store.upload("x/file", source)
    for begun in (0, 1, 9 * MIB, len(data) - 1, len(data)):
        part = tmp_path / f"part-{begun}"
        part.write_bytes(data[:begun])
        store.download_rest("x/file", part, len(data))
        assert part.read_bytes() == data


def test_a_beginning_that_is_wrong_costs_a_second_try_and_no_more(bench: Bench, tmp_path: Path) -> None:
    large_run(bench.store, MIB)
    pull(bench, tmp_path / "out")
    model = tmp_path / "out/artifacts/model/model.safetensors"
    digest = next(
        file["blake3"]
        for file in json.loads((model.parent / "manifest.json").read_text())["files"]
        if file["name"] == "model.safetensors"
    )
    model.unlink()
    (model.parent / f".runner-part-{digest[:32]}").write_bytes(b"z" * 5000)
    pull(bench, tmp_path / "out")
    assert model.read_bytes() == b"w" * MIB
    assert list(model.parent.glob(".runner-part-*")) == []


def test_one_artifact_is_fetched_alone_and_one_that_is_not_there_is_named(bench: Bench, tmp_path: Path) -> None:
    large_run(bench.store, 1000)
    done = bench.runner("pull", "run", str(tmp_path / "out"), "--artifact", "extra")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out/artifacts").iterdir()] == ["extra"]
    wrong = bench.runner("pull", "run", str(tmp_path / "other"), "--artifact", "modl")
    assert wrong.returncode == 2
    assert "did you mean 'model'?" in wrong.stderr
    assert not (tmp_path / "other").exists()
    again = bench.runner("pull", "run", str(tmp_path / "out"))
    assert "were there already" in again.stderr
    assert sorted(path.name for path in (tmp_path / "out/artifacts").iterdir()) == ["extra", "model"]


def test_two_pulls_into_one_folder_do_not_spoil_each_other(bench: Bench, tmp_path: Path) -> None:
    large_run(bench.store, 16 * MIB)
    out = str(bench.folder / "out")
    pulls = [bench.start([sys.executable, "-c", SLOW_PULL, "pull", "run", out], {}) for _ in range(2)]
    assert [process.wait() for process in pulls] == [0, 0]
    assert (Path(out) / "artifacts/model/model.safetensors").read_bytes() == b"w" * (16 * MIB)
    assert list(Path(out).rglob(".runner-part-*")) == []
