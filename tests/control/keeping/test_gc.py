"""What is collected is what nothing needs; what a run needs to go on is never among it."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.control.keeping.gc import Garbage, collect, find_garbage
from runner.control.keeping.mark import tag_runs
from runner.control.results.artifacts import list_artifacts
from runner.paths import state_folder
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import run_key
from runner.runs.listing import list_runs
from runner.runs.records import encoded
from runner.storage.local import LocalStore
from runner.storage.store import Store
from support.bench import Bench
from support.stored import artifact, attempted, checkpoint, ended, submitted

LATER = datetime.now(UTC) + timedelta(days=30)


def found(store: Store, **wishes: object) -> Garbage:
    return find_garbage(store, now=LATER, **wishes)  # type: ignore[arg-type]


def names(garbage: Garbage) -> list[tuple[str, str]]:
    return sorted((item.kind, item.name) for item in garbage.items)


def put_half(store: Store, run_id: str, key: str) -> None:
    store.create(run_key(run_id, f"{key}/model.safetensors"), b"w" * 500)


def test_what_was_half_written_goes_once_the_run_has_ended(store: Store, bench: Bench) -> None:
    """In a folder, and on S3 servers of several kinds."""
    for run_id in ("alive", "over"):
        submitted(store, run_id)
        attempted(store, run_id)
        checkpoint(store, run_id, 10)
        put_half(store, run_id, "checkpoints/sft-000012-0001-aaaa")
        put_half(store, run_id, "artifacts/merged/0001-aaaa")
    ended(store, "over", artifacts={"model": artifact(store, "over")})
    before = {info.key for info in store.objects("runs/")}
    garbage = found(store)
    assert names(garbage) == [
        ("artifacts half written", "merged/0001-aaaa"),
        ("checkpoints half written", "sft-000012-0001-aaaa"),
    ]
    assert {item.run_id for item in garbage.items} == {"over"}
    assert collect(store, garbage) == garbage.size == 1000
    assert before - {info.key for info in store.objects("runs/")} == {
        "runs/over/checkpoints/sft-000012-0001-aaaa/model.safetensors",
        "runs/over/artifacts/merged/0001-aaaa/model.safetensors",
    }
    assert names(found(store)) == []


def test_nothing_is_taken_that_was_written_within_the_last_hour(bench: Bench) -> None:
    submitted(bench.store, "run")
    put_half(bench.store, "run", "artifacts/gguf/export-aaaa")
    ended(bench.store, "run")
    assert find_garbage(bench.store).items == []
    assert names(found(bench.store)) == [("artifacts half written", "gguf/export-aaaa")]


def test_checkpoints_off_the_lineage_go_and_those_on_it_stay(bench: Bench) -> None:
    store = bench.store
    submitted(store, "run")
    attempted(store, "run", "0001-aaaa")
    on = checkpoint(store, "run", 4, token="0001-aaaa")
    off = checkpoint(store, "run", 6, token="0001-aaaa")
    attempted(store, "run", "0002-bbbb", restored=on)
    last = checkpoint(store, "run", 10, token="0002-bbbb")
    assert names(found(store)) == []  # the run goes on
    ended(store, "run", attempts=2)
    garbage = found(store)
    assert names(garbage) == [("checkpoints off the lineage", off)]
    collect(store, garbage)
    assert [str(name) for name in checkpoints(store, "run")] == [last, on]


def test_the_newest_and_the_best_checkpoint_stay_whatever_is_asked(bench: Bench) -> None:
    store = bench.store
    submitted(store, "run")
    attempted(store, "run")
    ids = [checkpoint(store, "run", step, best=4, value=0.5) for step in (2, 4, 6, 8, 10)]
    ended(store, "run", "failed")
    assert names(found(store)) == []
    assert [name for _, name in names(found(store, keep_last=2))] == [ids[0], ids[2]]
    collect(store, found(store, keep_last=1))
    assert [str(name) for name in checkpoints(store, "run")] == [ids[4], ids[1]]


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_good_one_before_it(bench: Bench) -> None:
    store = bench.store
    submitted(store, "run")
    attempted(store, "run")
    good, bad = checkpoint(store, "run", 4), checkpoint(store, "run", 6)
    store.put(run_key("run", f"checkpoints/{bad}/manifest.json"), b"{}")
    ended(store, "run", "failed")
    collect(store, found(store, keep_last=1))
    assert [str(name) for name in checkpoints(store, "run")] == [bad, good]


def test_of_artifacts_that_were_made_twice_the_result_s_stay(bench: Bench) -> None:
    store = bench.store
    submitted(store, "run")
    attempted(store, "run", "0001-aaaa")
    attempted(store, "run", "0002-bbbb")
    artifact(store, "run", token="0001-aaaa")
    artifact(store, "run", "stage-one", token="0001-aaaa")
    artifact(store, "run", "merged", token="export-cccc")
    ended(store, "run", attempts=2, artifacts={"model": artifact(store, "run", token="0002-bbbb")})
    garbage = found(store)
    assert names(garbage) == [("artifacts made again", "model/0001-aaaa")]
    collect(store, garbage)
    assert [(one.name, one.problem) for one in list_artifacts(store, "run")] == [("merged", None), ("model", None)]
    left = {info.key.removeprefix("runs/run/artifacts/").rpartition("/")[0] for info in store.objects("runs/run/")}
    assert {"stage-one/0001-aaaa", "model/0002-bbbb", "merged/export-cccc"} <= left


def test_an_artifact_that_a_checkpoint_started_from_stays(bench: Bench) -> None:
    store = bench.store
    submitted(store, "run")
    attempted(store, "run")
    artifact(store, "run", "stage-one", token="0001-aaaa")
    newer = artifact(store, "run", "stage-one", token="0002-bbbb")
    name = checkpoint(store, "run", 10)
    state = b'{"base": "artifacts/stage-one/0001-aaaa/"}'
    store.put(run_key("run", f"checkpoints/{name}/runner_state.json"), state)
    ended(store, "run", attempts=2, artifacts={"stage-one": newer})
    assert names(found(store)) == []


def test_what_another_run_names_by_its_path_stays_though_it_was_made_again(bench: Bench) -> None:
    store = bench.store
    submitted(store, "run")
    older = artifact(store, "run", token="0001-aaaa")
    ended(store, "run", attempts=2, artifacts={"model": artifact(store, "run", token="0002-bbbb")})
    submitted(store, "child", model={"model_name_or_path": f"{store.url}/runs/run/{older}"})
    assert names(found(store)) == []


def test_a_failed_run_keeps_its_artifacts(bench: Bench) -> None:
    submitted(bench.store, "run")
    artifact(bench.store, "run", token="0001-aaaa")
    ended(
        bench.store, "run", "failed", attempts=2, artifacts={"model": artifact(bench.store, "run", token="0002-bbbb")}
    )
    assert names(found(bench.store)) == []


def test_nothing_of_a_kept_run_goes_and_no_checkpoint_of_a_base(bench: Bench) -> None:
    store = bench.store
    for run_id in ("kept", "base", "free"):
        submitted(store, run_id)
        attempted(store, run_id)
        for step in (2, 4, 6):
            checkpoint(store, run_id, step)
        put_half(store, run_id, "checkpoints/sft-000008-0001-aaaa")
        ended(store, run_id)
    submitted(store, "child", model={"run": "base", "checkpoint": "sft-000002-0001-aaaa"})
    tag_runs(store, ["kept"], ["keep"], remove=False)
    garbage = found(store, keep_last=1)
    taken = {
        run_id: sorted(item.name for item in garbage.items if item.run_id == run_id) for run_id in ("kept", "base")
    }
    assert taken == {"kept": [], "base": ["sft-000008-0001-aaaa"]}
    assert len([item for item in garbage.items if item.run_id == "free"]) == 3
    whole = found(store, runs=True, older_than=timedelta(days=7))
    assert [item.run_id for item in whole.items if item.whole_run] == ["free"]
    collect(store, whole)
    assert sorted(run.run_id for run in list_runs(store)) == ["base", "child", "kept"]


def test_trials_are_not_deleted_one_by_one(bench: Bench) -> None:
    submitted(bench.store, "search-0000")
    document = bench.store.get("runs/search-0000/run.json").replace(
        b'"version": 1', b'"version": 1, "sweep": {"sweep_id": "search", "trial": 0}'
    )
    bench.store.put("runs/search-0000/run.json", document)
    ended(bench.store, "search-0000")
    assert names(found(bench.store, runs=True, older_than=timedelta(days=7))) == []


def test_younger_than_asked_stays(bench: Bench) -> None:
    submitted(bench.store, "run")
    put_half(bench.store, "run", "checkpoints/sft-000008-0001-aaaa")
    yesterday = (LATER - timedelta(days=1)).isoformat()
    ended(bench.store, "run", ended_at=yesterday)
    assert names(found(bench.store, older_than=timedelta(days=2), runs=True)) == []
    assert len(names(found(bench.store, older_than=timedelta(hours=2)))) == 1


def test_a_launch_that_was_cut_short_goes_after_a_week(bench: Bench) -> None:
    bench.store.create("runs/cut/inputs/00/data.jsonl", b"{}")
    assert find_garbage(bench.store, now=datetime.now(UTC) + timedelta(days=6)).items == []
    assert names(found(bench.store)) == [("launches that were cut short", "cut")]


def test_a_deletion_that_was_cut_short_is_finished(bench: Bench) -> None:
    store = bench.store
    submitted(store, "run")
    ended(store, "run")
    store.create("removing/runs/run.json", encoded({"kind": "run", "id": "run", "requested_at": "then"}))
    collect(store, found(store))
    assert list(store.objects("")) == []


def test_work_folders_of_ended_runs_go_and_those_of_others_stay(bench: Bench) -> None:
    for run_id in ("ended", "open", "held"):
        submitted(bench.store, run_id)
        folder = state_folder(bench.store.url, run_id) / "work"
        folder.mkdir(parents=True)
        (folder / "checkpoint.bin").write_bytes(b"x" * 100)
    ended(bench.store, "ended")
    ended(bench.store, "held")
    lock = bench.lock("held")
    garbage = found(bench.store)
    assert names(garbage) == [("work folders of ended runs", "ended on this machine")]
    collect(bench.store, garbage)
    there = sorted(path.name for path in state_folder(bench.store.url, "open").parent.iterdir())
    assert there == ["held", "open"]
    lock.close()


def test_temporary_files_of_killed_writers_go_after_a_day(bench: Bench) -> None:
    assert isinstance(bench.store, LocalStore)
    submitted(bench.store, "run")
    folder = Path(bench.store.root, "runs/run/checkpoints/x")
    folder.mkdir(parents=True)
    part = folder / ".runner-part-00"
    part.write_bytes(b"x" * 300)
    assert find_garbage(bench.store).items == []
    os.utime(part, (time.time() - 90000, time.time() - 90000))
    garbage = find_garbage(bench.store)
    assert [(item.kind, item.size) for item in garbage.items] == [("uploads not completed", 300)]
    collect(bench.store, garbage)
    assert not folder.exists()


def test_whole_runs_need_an_age_and_deleting_a_yes(bench: Bench) -> None:
    assert "--older-than" in bench.runner("gc", "--runs").stderr
    submitted(bench.store, "run")
    put_half(bench.store, "run", "checkpoints/sft-000008-0001-aaaa")
    ended(bench.store, "run")
    assert isinstance(bench.store, LocalStore)
    for path in bench.store.root.rglob("*"):
        os.utime(path, (time.time() - 90000, time.time() - 90000))
    assert bench.runner("gc").returncode == 2
    dry = bench.runner("gc", "--dry-run")
    assert "checkpoints half written" in dry.stdout
    assert "nothing is deleted" in dry.stderr
    done = bench.runner("gc", "--yes")
    assert (done.returncode, "freed 500 B" in done.stderr) == (0, True)
    assert "nothing to delete" in bench.runner("gc").stderr
