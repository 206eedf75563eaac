"""What is deleted is gone, what is needed stays, and what was cut short is finished."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runner.control.keeping.mark import tag_runs
from runner.control.keeping.rm import plan_removal, remove
from runner.errors import UserError
from runner.runs.keeping.removals import removals
from runner.runs.layout import run_key, run_prefix
from runner.runs.listing import find_run, list_runs
from runner.runs.records import encoded
from runner.storage.local import LocalStore
from runner.storage.store import Store
from support.bench import Bench
from support.stored import artifact, attempted, checkpoint, ended, submitted


def whole_run(store: Store, run_id: str, **recipe: Any) -> str:
    submitted(store, run_id, **recipe)
    attempted(store, run_id)
    checkpoint(store, run_id, 10)
    return ended(store, run_id, artifacts={"model": artifact(store, run_id)})


def removed(store: Store, *words: str) -> list[str]:
    removal = plan_removal(store, words)
    remove(store, removal)
    return removal.run_ids


def test_nothing_of_a_deleted_run_is_left_and_other_runs_are_whole(store: Store, bench: Bench) -> None:
    """In a folder, and on S3 servers of several kinds."""
    whole_run(store, "a")
    whole_run(store, "b")
    before = sorted(info.key for info in store.objects("runs/b/"))
    list_runs(store)
    plan = plan_removal(store, ["a"])
    assert (plan.run_ids, plan.bytes_by_kind["checkpoints"] > 1000, plan.size > 2000) == (["a"], True, True)
    remove(store, plan)
    assert list(store.objects("runs/a/")) == []
    assert (list(store.objects("removing/")), list(store.objects("marked/"))) == ([], [])
    assert sorted(info.key for info in store.objects("runs/b/")) == before
    assert [run.run_id for run in list_runs(store)] == ["b"]


def make_running(store: Store) -> str:
    submitted(store, "run")
    attempted(store, "run")
    store.put("runs/run/attempts/0001.heartbeat.json", encoded({"token": "0001-aaaa", "step": 3}))
    return "running"


def make_interrupted(store: Store) -> str:
    submitted(store, "run")
    attempted(store, "run")
    store.create("runs/run/attempts/0001.ended.json", encoded({"token": "0001-aaaa", "outcome": "interrupted"}))
    return "interrupted and can go on"


def make_pending(store: Store) -> str:
    submitted(store, "run")
    return "pending"


def make_kept(store: Store) -> str:
    whole_run(store, "run")
    tag_runs(store, ["run"], ["keep"], remove=False)
    return "tag `keep`"


def make_base_by_lineage(store: Store) -> str:
    whole_run(store, "run")
    whole_run(store, "other")
    document = json.loads(store.get("runs/other/run.json"))
    document["lineage"] = {"kind": "extend", "run_id": "run", "checkpoint": "sft-000010-0001-aaaa"}
    store.put("runs/other/run.json", encoded(document))
    return "other was made from it"


def make_base_by_recipe(store: Store) -> str:
    whole_run(store, "run")
    whole_run(store, "other", model={"run": "run", "checkpoint": "best"})
    return "other was made from it"


def make_base_of_a_stage(store: Store) -> str:
    whole_run(store, "run")
    whole_run(store, "other", stages=[{"stage": "one", "model": {"run": "run"}}])
    return "other was made from it"


def make_base_by_path(store: Store) -> str:
    whole_run(store, "run")
    whole_run(store, "other", model={"model_name_or_path": f"{store.url}/runs/run/artifacts/model/0001-aaaa"})
    return "other was made from it"


def make_trial(store: Store) -> str:
    whole_run(store, "run")
    document = json.loads(store.get("runs/run/run.json"))
    document["sweep"] = {"sweep_id": "search", "trial": 0}
    store.put("runs/run/run.json", encoded(document))
    store.put("sweeps/search/sweep.json", b"{}")
    return "runner rm search"


MUST_STAY = [
    make_running,
    make_interrupted,
    make_pending,
    make_kept,
    make_base_by_lineage,
    make_base_by_recipe,
    make_base_of_a_stage,
    make_base_by_path,
    make_trial,
]


@pytest.mark.parametrize("make", MUST_STAY)
def test_what_is_needed_is_refused_by_name_and_left_out_of_a_pattern(
    bench: Bench, make: Callable[[Store], str]
) -> None:
    words = make(bench.store)
    before = sorted(info.key for info in bench.store.objects(""))
    with pytest.raises(UserError) as refusal:
        plan_removal(bench.store, ["run"])
    assert words in str(refusal.value)
    plan = plan_removal(bench.store, ["ru*"])
    assert (plan.run_ids, list(plan.left)) == ([], ["run"])
    remove(bench.store, plan)
    assert sorted(info.key for info in bench.store.objects("")) == before


def test_a_base_goes_with_what_was_made_from_it(bench: Bench) -> None:
    make_base_by_lineage(bench.store)
    assert sorted(removed(bench.store, "run", "other")) == ["other", "run"]
    assert list_runs(bench.store) == []


@pytest.mark.parametrize("deletions", range(6))
def test_a_deletion_that_is_killed_is_shown_and_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, deletions: int
) -> None:
    """After each of its requests."""
    store = bench.store
    whole_run(store, "a")
    whole_run(store, "b")
    tag_runs(store, ["a"], ["old"], remove=False)
    list_runs(store)  # both are remembered as ended
    count = 0
    delete = LocalStore.delete

    class Killed(BaseException):
        pass

    def delete_one(self: LocalStore, keys: Any) -> None:
        nonlocal count
        for key in keys:
            if count == deletions:
                raise Killed
            count += 1
            delete(self, [key])

    plan = plan_removal(store, ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "delete", delete_one)
        with pytest.raises(Killed):
            remove(store, plan)
    assert list(removals(store)) == ["a"]
    assert [run.run_id for run in list_runs(store)] == ["b"]
    shown = bench.runner("ps")
    assert "removing" in shown.stdout
    assert "`runner rm a` finishes it" in shown.stderr
    row = next(row for row in json.loads(bench.runner("ps", "--json").stdout) if row["run_id"] == "a")
    assert row["state"] == "removing"
    if deletions:
        with pytest.raises(UserError, match="is being deleted"):
            find_run(store, "a")
        assert bench.runner("resume", "a").returncode == 2
    assert bench.runner("rm", "a", "--yes").returncode == 0
    assert list(store.objects("runs/a/")) == []
    assert (removals(store), list(store.objects("marked/"))) == ({}, [])
    assert "removing" not in bench.runner("ps").stdout


def test_a_failed_run_that_somebody_goes_on_with_meanwhile_stays(bench: Bench) -> None:
    store = bench.store
    submitted(store, "a")
    ended(store, "a", "failed")
    plan = plan_removal(store, ["a"])
    reopened = {"number": 1, "reopened_at": "now", "attempts": 0, "state": "failed"}
    store.create(run_key("a", "reopened/0001.json"), encoded(reopened))
    said: list[str] = []
    remove(store, plan, say=said.append)
    assert "has not ended" in said[0]
    assert removals(store) == {}
    assert find_run(store, "a") == "a"


def test_a_run_that_is_supervised_here_is_refused(bench: Bench) -> None:
    whole_run(bench.store, "a")
    lock = bench.lock("a")
    with pytest.raises(UserError, match="running on this machine"):
        plan_removal(bench.store, ["a"])
    lock.close()
    assert removed(bench.store, "a") == ["a"]


def test_a_run_that_was_really_trained_leaves_no_folder_behind(bench: Bench) -> None:
    bench.recipe()
    assert bench.runner("launch", "small.yaml", "--name", "try").returncode == 0
    done = bench.runner("rm", "try", "--yes")
    assert done.returncode == 0, done.stderr
    assert isinstance(bench.store, LocalStore)
    assert not (bench.store.root / "runs/try").exists()
    again = bench.runner("launch", "small.yaml", "--name", "try")
    assert again.returncode == 0, again.stderr
    assert [run.run_id for run in list_runs(bench.store)] == ["try"]


def test_two_that_delete_the_same_run_both_end_in_order(bench: Bench) -> None:
    whole_run(bench.store, "a")
    errors: list[Exception] = []

    def delete() -> None:
        try:
            removed(bench.store, "a")
        except UserError:
            pass
        except Exception as error:  # noqa: BLE001 (whatever it is, it is one too many)
            errors.append(error)

    threads = [threading.Thread(target=delete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(bench.store.objects(run_prefix("a"))) == []
    assert removals(bench.store) == {}


def test_a_program_must_say_yes_and_a_dry_run_deletes_nothing(bench: Bench) -> None:
    whole_run(bench.store, "a")
    refused = bench.runner("rm", "a")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    dry = json.loads(bench.runner("rm", "a", "--dry-run", "--json").stdout)
    assert (dry["deleted"], dry["runs"], dry["bytes"] == sum(dry["bytes_by_kind"].values())) == (False, ["a"], True)
    assert [run.run_id for run in list_runs(bench.store)] == ["a"]
