"""Listings show all runs, the newest first, and remember the ended ones without ever being wrong about them."""

import json
import threading
from pathlib import Path

import pytest

from runner.paths import listing_cache
from runner.runs.listing import list_runs
from runner.runs.remembered.ended import EndedRuns
from runner.runs.status import RunStatus, run_status
from support.bench import Bench


def end(bench: Bench, run_id: str, state: str = "succeeded") -> None:
    result = {"state": state, "reason": None, "attempts": 1, "step": 10, "max_steps": 10, "ended_at": "then"}
    bench.store.create(f"runs/{run_id}/result.json", json.dumps(result).encode())


def status(run_id: str) -> RunStatus:
    return RunStatus(run_id=run_id, recipe="r", state="failed", infra="local", created_at="2026", reason="ü")


def test_the_newest_run_comes_first_whatever_its_name(bench: Bench) -> None:
    bench.submit("a", created_at="2026-01-02T00:00:00+00:00")
    bench.submit("z", created_at="2026-01-01T00:00:00+00:00")
    bench.submit("m", created_at="2026-01-03T00:00:00+00:00")
    assert [run.run_id for run in list_runs(bench.store)] == ["m", "a", "z"]


def test_what_is_no_run_is_left_out(bench: Bench) -> None:
    bench.submit("good")
    bench.store.create("runs/cut-short/inputs/0/data.txt", b"")
    bench.store.create("runs/damaged/run.json", b"{")
    assert [run.run_id for run in list_runs(bench.store)] == ["good"]


def test_an_ended_run_is_read_once(bench: Bench) -> None:
    bench.submit("ended")
    bench.submit("open")
    end(bench, "ended")
    first = {run.run_id: run for run in list_runs(bench.store)}
    bench.store.delete(["runs/ended/result.json"])  # never happens; it shows that nobody looks again
    second = {run.run_id: run for run in list_runs(bench.store)}
    assert second["ended"] == first["ended"]
    assert second["open"].state == "pending"


def test_a_run_that_is_gone_from_the_store_is_gone_from_the_listing(bench: Bench) -> None:
    bench.submit("ended")
    end(bench, "ended")
    assert len(list_runs(bench.store)) == 1
    bench.store.delete([entry.key for entry in bench.store.objects("runs/ended/")])
    assert list_runs(bench.store) == []


def test_an_id_that_is_used_again_is_not_taken_for_the_run_that_had_it(bench: Bench) -> None:
    bench.submit("again")
    end(bench, "again", "failed")
    list_runs(bench.store)
    bench.store.delete([entry.key for entry in bench.store.objects("runs/again/")])
    bench.submit("again")
    assert [run.state for run in list_runs(bench.store)] == ["pending"]


def test_a_name_that_another_machine_gave_to_a_new_run_is_read_again(bench: Bench) -> None:
    """This machine remembers the old one as ended, and has not seen that it was deleted."""
    bench.submit("nightly")
    end(bench, "nightly")
    assert [run.state for run in list_runs(bench.store)] == ["succeeded"]
    document = json.loads(bench.store.get("runs/nightly/run.json"))
    bench.store.delete([entry.key for entry in bench.store.objects("runs/nightly/")])
    document["created_at"] = "2026-02-02T00:00:00+00:00"
    bench.store.create("runs/nightly/run.json", json.dumps(document).encode())
    (again,) = list_runs(bench.store)
    assert (again.state, again.created_at) == ("pending", "2026-02-02T00:00:00+00:00")


@pytest.mark.parametrize("indent", [None, 0, 1, 2, 4])
def test_a_record_is_listed_the_same_however_it_is_laid_out(bench: Bench, indent: int | None) -> None:
    """The listing leaves out the settings where it can tell where they end."""
    bench.submit("run")
    document = json.loads(bench.store.get("runs/run/run.json"))
    settings = {"a": {"value": {"b": {}}, "source": "},\n  }"}, "settings": {"x": {}}}
    document = {**document, "settings": settings, "recipe": {**document["recipe"], "settings": {"y": {"z": 1}}}}
    bench.store.put("runs/run/run.json", json.dumps(document, indent=indent).encode())
    assert list_runs(bench.store) == [run_status(bench.store, "run")]


def test_settings_that_are_cut_off_are_still_damage(bench: Bench) -> None:
    bench.submit("run")
    whole = bench.store.get("runs/run/run.json")
    bench.store.put("runs/run/run.json", whole[: len(whole) // 2])
    damaged: list[str] = []
    assert list_runs(bench.store, on_damaged=lambda run_id, error: damaged.append(run_id)) == []
    assert damaged == ["run"]


def test_another_store_under_the_same_name_is_another(bench: Bench) -> None:
    bench.submit("nightly")
    end(bench, "nightly")
    list_runs(bench.store)
    for entry in list(bench.store.objects("runs/")):
        bench.store.delete([entry.key])
    bench.submit("nightly-2")
    assert [(run.run_id, run.state) for run in list_runs(bench.store)] == [("nightly-2", "pending")]


def test_what_is_remembered_comes_back_as_it_was(tmp_path: Path) -> None:
    memory = EndedRuns(tmp_path / "folder" / "ended.jsonl")
    assert memory.read() == {}
    memory.add([status("a"), status("b")])
    assert memory.read() == {"a": status("a"), "b": status("b")}


def test_damage_to_the_memory_costs_only_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ended.jsonl"
    memory = EndedRuns(path)
    memory.add([status("a")])
    with path.open("ab") as file:
        file.write(b'{"run_id": "torn", "rec')  # a writer that was killed
    memory.add([status("b")])
    with path.open("ab") as file:
        file.write(b'\xff\xfe\n[]\n{"run_id": "of another version", "nonsense": 1}\n')
    assert set(memory.read()) == {"a", "b"}


def test_many_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ended.jsonl"

    def write(writer: int) -> None:
        for number in range(50):
            EndedRuns(path).add([status(f"{writer}-{number}"), status(f"{writer}-{number}-b")])

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(EndedRuns(path).read()) == 8 * 50 * 2


def test_a_folder_that_cannot_be_written_only_costs_speed(bench: Bench) -> None:
    bench.submit("ended")
    end(bench, "ended")
    cache = listing_cache(bench.store.url)
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where a folder should be")
    assert [run.state for run in list_runs(bench.store)] == ["succeeded"]
