"""Tags and notes: what the last mark says holds, and no mark of two at once is lost."""

import threading

from runner.runs.marks.marks import Marks, mark_run, marked_runs, marks_of, read_marks
from runner.storage.store import Store
from support.fakes.memory_store import MemoryStore


def test_tags_come_and_go_and_a_note_is_replaced(store: Store) -> None:
    """On every kind of store, those that ignore conditional writes too."""
    assert read_marks(store, "run") == Marks()
    mark_run(store, "run", add=["keep", "a/b:c"])
    mark_run(store, "run", note="first")
    mark_run(store, "run", remove=["keep"], note="second ü")
    assert read_marks(store, "run") == Marks(frozenset({"a/b:c"}), "second ü")
    mark_run(store, "run", note="")
    assert read_marks(store, "run") == Marks(frozenset({"a/b:c"}))


def test_of_many_at_once_none_is_lost(memory: MemoryStore) -> None:
    threads = [threading.Thread(target=mark_run, args=(memory, "run"), kwargs={"add": [f"t{n}"]}) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_marks(memory, "run").tags == {f"t{n}" for n in range(16)}


def test_a_store_that_ignores_conditions_loses_no_mark_that_it_acknowledged() -> None:
    """Another writer overwrites our record before we read it back: ours is written again, after it."""
    data: dict[str, bytes] = {}
    other = MemoryStore(conditional=False, data=data)
    done = []

    def step(request: str) -> None:
        if request.startswith("put runs/run/marks/0001") and not done:
            done.append(True)
            data["runs/run/marks/0001.json"] = b""  # both have looked, and found nothing
            del data["runs/run/marks/0001.json"]
            mark_run(other, "run", add=["theirs"])

    mark_run(MemoryStore(conditional=False, step=step, data=data), "run", add=["ours"])
    assert "ours" in read_marks(other, "run").tags


def test_runs_with_marks_are_found_without_a_look_at_the_others(memory: MemoryStore) -> None:
    mark_run(memory, "b", add=["x"])
    for number in range(50):
        memory.put(f"runs/r{number}/run.json", b"{}")
    requests: list[str] = []
    seen = memory.seen_by(lambda request: requests.append(request))
    assert marks_of(seen, [f"r{number}" for number in range(50)]) == {}
    assert requests == ["list marked/"]
    assert (marks_of(seen), marked_runs(seen)) == ({"b": Marks(frozenset({"x"}))}, {"b"})


def test_a_damaged_mark_counts_for_nothing(memory: MemoryStore) -> None:
    mark_run(memory, "run", add=["keep"])
    memory.put("runs/run/marks/0002.json", b'{"number": 2, "marked_at": "x", "tags_removed": "keep"}')
    assert read_marks(memory, "run").tags == {"keep"}
