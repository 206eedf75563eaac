"""What goes wrong besides kills: damage in the store, a store that is away, a full disk, two attempts at once."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import CheckpointName, checkpoint_prefix, run_key
from runner.storage.manifest import Manifest
from runner.storage.open import open_store
from runner.storage.store import Store
from support.forked import Attempts, Moment, Removal
from support.references import References
from support.runs import assert_same, check_metrics, outcome, recipe, submit
from support.servers.faults import Answer, CutUpload, LoseAnswer, Refuse, faulty
from support.servers.s3 import BUCKET, S3Server
from support.thorough import cases


@pytest.fixture
def undisturbed(references: References, data: Path) -> dict[str, Any]:
    """How the run ends that meets no trouble."""
    return references(recipe(data, adapter=False)).outcome


TWO_SAVED = Moment("runner.train.checkpointing.checkpointer:commit", 2, after=True)
"""When there are two checkpoints."""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A folder with the store of one run that was killed once it had two checkpoints; `copy_of` copies it."""
    folder = tmp_path_factory.mktemp("interrupted")
    forked = Attempts(str(folder / "store"), folder)
    submit(open_store(forked.store_url), "interrupted", recipe(data, adapter=False))
    assert forked.run("interrupted", TWO_SAVED) == 75, forked.log("interrupted")
    assert len(checkpoints(open_store(forked.store_url), "interrupted")) >= 2
    return folder


def copy_of(interrupted: Path, folder: Path) -> tuple[Attempts, Store, list[CheckpointName]]:
    """A copy of the interrupted run's store, attempts in it, and the run's checkpoints, the newest first."""
    shutil.copytree(interrupted / "store", folder / "store")
    forked = Attempts(str(folder / "store"), folder)
    store = open_store(forked.store_url)
    return forked, store, checkpoints(store, "interrupted")


def wait_until(process: Any, condition: Callable[[], bool]) -> None:
    """Wait for something that the living process is to bring about."""
    while not condition():
        assert process.exitcode is None, "it has ended"
        time.sleep(0.05)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


DAMAGES = [
    (file, damage)
    for file in ("optimizer.pt", "model.safetensors", "manifest.json", "rng_state.pth")
    for damage in (truncate, flip_a_bit, remove)
    if file != "rng_state.pth" or damage is flip_a_bit  # else the same as for optimizer.pt
]
QUICK = {("optimizer.pt", truncate), ("model.safetensors", flip_a_bit), ("manifest.json", remove)}


@pytest.mark.parametrize(
    ("file", "damage"),
    cases(
        DAMAGES,
        quick=lambda file, damage: (file, damage) in QUICK,
        name=lambda file, damage: f"{damage.__name__}-{file}",
    ),
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    file: str, damage: Callable[[Path], None], interrupted: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    forked, store, known = copy_of(interrupted, tmp_path)
    damage(Path(forked.store_url) / checkpoint_prefix("interrupted", known[0]) / file)
    assert forked.run("interrupted") == 0, forked.log("interrupted")
    assert attempts(store, "interrupted")[1].restored == known[1], "the one before is used"
    if not (file == "manifest.json" and damage is remove):  # without a manifest there is no checkpoint to speak of
        assert str(known[0]) in forked.log("interrupted"), "it says which one it passes over"
    assert_same(outcome(store, "interrupted"), undisturbed)


def test_a_checkpoint_that_was_committed_without_optimizer_state_is_not_resumed(
    interrupted: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Every peer resumes from such a checkpoint, with other weights in the end and exit code 0."""
    forked, store, known = copy_of(interrupted, tmp_path)
    folder = Path(forked.store_url) / checkpoint_prefix("interrupted", known[0])
    (folder / "optimizer.pt").unlink()
    manifest = folder / "manifest.json"
    whole = Manifest.parse(manifest.read_bytes())
    others = tuple(file for file in whole.files if file.name != "optimizer.pt")
    manifest.unlink()
    manifest.write_bytes(Manifest(others, whole.metadata).to_json())
    assert forked.run("interrupted") == 0, forked.log("interrupted")
    assert attempts(store, "interrupted")[1].restored == known[1]
    assert "optimizer.pt" in forked.log("interrupted")
    assert_same(outcome(store, "interrupted"), undisturbed)


def test_data_that_have_changed_are_not_trained_on_until_they_are_back(
    forked: Attempts, data: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """As a dataset of the hub may, while a run waits for a machine. It ends as if nothing had been, or not at all."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(data.read_bytes())
    store = open_store(forked.store_url)
    submit(store, "changed", recipe(rows, adapter=False))
    assert forked.run("changed", TWO_SAVED) == 75, forked.log("changed")
    known = checkpoints(store, "changed")
    assert len(known) >= 2
    first, rest = rows.read_text().split("\n", 1)
    rows.write_text(first.replace("e", "E") + "\n" + rest)
    assert forked.run("changed") == 75, forked.log("changed")
    end = json.loads(store.get(run_key("changed", "attempts/0002.ended.json")))
    assert end["outcome"] == "interrupted", end
    assert f"the training rows are not those of the checkpoint (step {known[0].step})" in end["reason"]
    rows.write_bytes(data.read_bytes())
    assert forked.run("changed") == 0, forked.log("changed")
    assert_same(outcome(store, "changed"), undisturbed)


def test_an_older_attempt_that_is_still_alive_spoils_nothing(
    forked: Attempts, data: Path, undisturbed: dict[str, Any]
) -> None:
    """The machine that was thought lost goes on while a new one has taken over."""
    store = open_store(forked.store_url)
    slow = recipe(data, adapter=False)
    submit(store, "twice", slow)
    old = forked.start("twice")
    wait_until(old, lambda: bool(checkpoints(store, "twice")))
    os.kill(old.pid, 19)  # SIGSTOP: the attempt does not notice what happens
    other = Attempts(forked.store_url, forked.folder / "other-machine")
    other.folder.mkdir(exist_ok=True)
    new = other.start("twice")
    os.kill(old.pid, 18)  # SIGCONT: and now both train
    new.join(900)
    old.join(900)
    assert new.exitcode == 0, other.log("twice")
    assert old.exitcode in (0, 75), forked.log("twice")
    assert_same(outcome(store, "twice"), undisturbed)
    result = json.loads(store.get(run_key("twice", "result.json")))
    assert result["attempts"] == 2, "the newer attempt's result stands"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("what", ["the work folder", "the store"])
def test_a_full_disk_is_a_clear_failure_and_the_run_can_be_resumed(
    what: str, small_disk: Path, tmp_path: Path, data: Path, undisturbed: dict[str, Any]
) -> None:
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    store_folder, work_folder = (roomy, small_disk) if what == "the work folder" else (small_disk, roomy)
    forked = Attempts(str(store_folder / "store"), work_folder, {"XDG_CACHE_HOME": str(roomy / "cache")})
    store = open_store(forked.store_url)
    submit(store, "full", recipe(data, adapter=False))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(93 << 20))
    code = forked.run("full")
    said = (work_folder / "full.log").read_text()
    assert code == 75, said
    filler.unlink()
    assert forked.run("full") == 0, (work_folder / "full.log").read_text()
    assert_same(outcome(store, "full"), undisturbed)


@pytest.mark.parametrize(
    ("fault", "times"),
    cases(
        [(Answer(503), 40), (Refuse(), 40), (CutUpload(1000), 20), (LoseAnswer(), 20), (Answer(500), 40)],
        quick=lambda fault, times: isinstance(fault, Refuse | LoseAnswer),
    ),
)
def test_a_store_that_is_away_for_a_while_is_tried_again_while_training_goes_on(
    fault: Any,
    times: int,
    use_server: Callable[[str], S3Server],
    tmp_path: Path,
    data: Path,
    undisturbed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = use_server("ministack")
    with faulty(server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        forked = Attempts(f"s3://{BUCKET}/{tmp_path.name}", tmp_path, environment)
        store = open_store(forked.store_url)
        submit(store, "away", recipe(data, adapter=False))
        process = forked.start("away")
        wait_until(process, lambda: any(attempt.began for attempt in attempts(store, "away")))
        proxy.inject(fault, times=times, method="PUT")
        process.join(900)
        assert process.exitcode == 0, forked.log("away")
        assert any(seen.fault == fault for seen in proxy.seen)
        assert_same(outcome(store, "away"), undisturbed)


@pytest.mark.thorough
def test_a_run_whose_store_stays_away_is_interrupted_and_can_be_resumed(
    use_server: Callable[[str], S3Server],
    tmp_path: Path,
    data: Path,
    undisturbed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = use_server("moto")
    with faulty(server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        forked = Attempts(f"s3://{BUCKET}/{tmp_path.name}", tmp_path, environment)
        store = open_store(forked.store_url)
        submit(store, "gone", recipe(data, adapter=False))
        proxy.inject(Refuse(), since="sft-0000(08|12)|artifacts/")  # for good, from what comes after a first checkpoint
        process = forked.start("gone", patience_seconds=3.0)
        process.join(900)
        assert process.exitcode == 75, forked.log("gone")
        proxy.clear()
        assert forked.run("gone") == 0, forked.log("gone")
        assert_same(outcome(store, "gone"), undisturbed)
        check_metrics(outcome(store, "gone")["metrics"])


@pytest.mark.parametrize(
    "heard", [pytest.param(True, id="told", marks=pytest.mark.thorough), pytest.param(False, id="not told")]
)
def test_a_folder_that_is_removed_under_a_run_interrupts_it(
    heard: bool, forked: Attempts, data: Path, undisturbed: dict[str, Any]
) -> None:
    """SkyPilot does that to a job whose Slurm allocation has ended, while it saves its last checkpoint."""
    store = open_store(forked.store_url)
    run_id = f"removed-{heard}".lower()
    submit(store, run_id, recipe(data, adapter=False))
    work = str(forked.folder / "work" / run_id)
    removal = Removal(
        "runner.train.checkpointing.checkpointer:commit", 2, signal=signal.SIGTERM if heard else 0, work=work
    )
    assert forked.run(run_id, removal) == 75, forked.log(run_id)
    ended = attempts(store, run_id)[0].ended
    assert ended is not None
    assert (ended["outcome"], ended["retry"]) == ("interrupted", True)
    assert ("SIGTERM" if heard else "has been removed") in ended["reason"]
    assert forked.run(run_id) == 0, forked.log(run_id)
    assert_same(outcome(store, run_id), undisturbed)


@pytest.mark.parametrize(("length", "ends"), [(3, 2), (16, 0)])
def test_prompts_that_leave_no_room_are_said_before_training(
    forked: Attempts, tmp_path: Path, length: int, ends: int
) -> None:
    """TRL drops such examples without a word, and without any left ends in a traceback."""
    beginning = "one two three four five six "
    rows = [{"prompt": f"{beginning * (8 * (n % 2))}seven eight", "completion": " x" * 20} for n in range(24)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    what = recipe(tmp_path / "rows.jsonl", adapter=False, max_length=length, max_steps=1)
    run_id = f"length-{length}"
    submit(open_store(forked.store_url), run_id, what)
    assert forked.run(run_id) == ends, forked.log(run_id)
    log = forked.log(run_id)
    if ends:
        assert "error: training.max_length: data.train: of all 16 examples, nothing that is trained on" in log
        assert "Traceback" not in log
    else:
        assert re.search(r"data\.train: dropped \d+ of 16 examples: the first 16 tokens", log)
        assert re.search(r"data\.train: \d+ of \d+ examples are cut at 16 tokens", log)
