"""A run's tags and its note: what its marks, one after the other, have made of them.

A mark is a record of its own and never changes, so two people may mark a run at the same time, and nothing is lost.
``marked/<run_id>.json`` is there before the first mark of a run: one listing finds the runs that have any, among
thousands that have none.
"""

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from runner.runs.layout import MARKED, MARKS, is_run_id, marked_key, new_nonce, numbered_key, run_key
from runner.runs.record_types.marks import MarkRecord
from runner.runs.records import DamagedRecord, encoded, find_hint, numbered_records, read_record, utc_now
from runner.runs.reopened import by_whom
from runner.storage.store import NotFound, Store

KEEP = "keep"
"""The tag of runs that `runner rm` and `runner gc` leave alone."""

_READERS = 32
_MOST_TRIES = 100


@dataclass(frozen=True)
class Marks:
    """What people have put on a run."""

    tags: frozenset[str] = field(default_factory=frozenset)
    """Its tags."""
    note: str | None = None
    """Its note."""


def read_marks(store: Store, run_id: str) -> Marks:
    """A run's tags and note. A mark that is damaged counts for nothing.

    Args:
        store: where the run lives.
        run_id: the run.
    """
    tags: set[str] = set()
    note = None
    for number in numbered_records(store, run_key(run_id, MARKS)):
        record = find_hint(store, numbered_key(run_id, MARKS, number), MarkRecord)
        if record is None:
            continue
        tags |= set(record.get("tags_added", ()))
        tags -= set(record.get("tags_removed", ()))
        if "note" in record:
            note = record["note"] or None
    return Marks(frozenset(tags), note)


def marked_runs(store: Store) -> set[str]:
    """The ids of the runs that may have marks, found with one listing."""
    names = (info.key.removeprefix(MARKED).removesuffix(".json") for info in store.objects(MARKED))
    return set(filter(is_run_id, names))


def marks_of(store: Store, run_ids: Iterable[str] | None = None) -> dict[str, Marks]:
    """The marks of those of these runs (None: of all) that have any, by id."""
    marked = marked_runs(store)
    wanted = sorted(marked if run_ids is None else marked.intersection(run_ids))
    if not wanted:
        return {}
    with ThreadPoolExecutor(_READERS, thread_name_prefix="marks") as readers:
        found = zip(wanted, readers.map(lambda run_id: read_marks(store, run_id), wanted), strict=True)
        return {run_id: marks for run_id, marks in found if marks != Marks()}


def mark_run(
    store: Store,
    run_id: str,
    *,
    add: Collection[str] = (),
    remove: Collection[str] = (),
    note: str | None = None,
) -> None:
    """Put a mark on a run.

    Args:
        store: where the run lives.
        run_id: the run.
        add: tags that it gets.
        remove: tags that it loses.
        note: its note from now on; an empty one removes the note, None leaves it as it is.

    Raises:
        StoreUnavailable, StoreFull, UserError: from the store.
    """
    store.create(marked_key(run_id), encoded({"run_id": run_id, "marked_at": utc_now()}))
    nonce = new_nonce(8)
    number = max(numbered_records(store, run_key(run_id, MARKS)), default=0)
    for _ in range(_MOST_TRIES):
        number += 1
        record = {"number": number, "marked_at": utc_now(), "nonce": nonce, **by_whom()}
        record |= {"tags_added": sorted(add)} if add else {}
        record |= {"tags_removed": sorted(remove)} if remove else {}
        record |= {} if note is None else {"note": note or None}
        key = numbered_key(run_id, MARKS, number)
        store.create(key, encoded(record))
        try:
            # Read back: the answer may have got lost, and a store that ignores conditions may hold another's by now.
            if read_record(store, key, MarkRecord).get("nonce") == nonce:
                return
        except (NotFound, DamagedRecord):
            continue
    raise AssertionError(f"{_MOST_TRIES} marks on {run_id} at once")
