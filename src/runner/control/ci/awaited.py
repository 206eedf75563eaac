"""Runs that a CI job has left behind, for another job to report: a long run costs no time of a CI machine."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.control.ci.event import Event
from runner.runs.layout import CI, new_nonce
from runner.runs.record_types.marks import AwaitedRecord
from runner.runs.records import encoded, find_hint, numbered_records, read_record, run_document, utc_now
from runner.runs.status import RunStatus, run_status
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

_SAME = ("commit", "pull_request", "requirements", "baseline")
"""Two records with the same of these mean one report."""


def leave_run(store: Store, run_id: str, event: Event, *, requirements: Sequence[str], baseline: str | None) -> None:
    """Record that somebody else is to report a run, unless that is recorded in the same words and was not done yet."""
    revision = run_document(store, run_id).get("git_revision")
    record: dict[str, Any] = {
        "run_id": run_id,
        "repository": event.repository,
        "commit": None if revision is None else revision.removesuffix("-dirty"),
        "pull_request": event.pull_request,
        "url": event.url,
        "requirements": list(requirements),
        "baseline": baseline,
    }
    numbers = numbered_records(store, f"{CI}{run_id}/")
    for number, kinds in numbers.items():
        known: Mapping[str, Any] = find_hint(store, _key(run_id, number), AwaitedRecord) or {}
        if "done" not in kinds and all(known.get(name) == record[name] for name in _SAME):
            return
    number, nonce = max(numbers, default=0), new_nonce(8)
    while True:
        number += 1
        store.create(_key(run_id, number), encoded({**record, "left_at": utc_now(), "nonce": nonce}))
        if read_record(store, _key(run_id, number), AwaitedRecord)["nonce"] == nonce:
            return


def awaited_runs(store: Store) -> Iterator[tuple[int, AwaitedRecord, RunStatus]]:
    """The runs that were left and are to be reported: the record's number, the record, and the run's status."""
    for run_id in store.folders(CI):
        for number, kinds in numbered_records(store, f"{CI}{run_id}/").items():
            record = None if "done" in kinds else find_hint(store, _key(run_id, number), AwaitedRecord)
            if record is None:
                continue
            try:
                yield number, record, run_status(store, run_id)
            except (NotFound, Damaged):
                continue  # it was deleted, or cannot be read: `runner ps` says so


def note_reported(store: Store, run_id: str, number: int) -> None:
    """Record that a run was reported."""
    store.create(_key(run_id, number, "done"), encoded({"done_at": utc_now()}))


def _key(run_id: str, number: int, kind: str = "") -> str:
    return f"{CI}{run_id}/{number:04d}{'.' + kind if kind else ''}.json"
