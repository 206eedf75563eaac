"""Runs and sweeps that are being deleted: what says so is written before anything goes, and deleted when all is gone.

A deletion that is killed on the way leaves this record. Listings show it, and a second `runner rm` finishes it.
"""

import os

from runner.runs.layout import REMOVING, RUNS, SWEEPS, is_run_id, removing_key, removing_sweep_key
from runner.runs.record_types.marks import RemovalRecord
from runner.runs.records import encoded, find_hint, utc_now
from runner.storage.store import Store


def removals(store: Store) -> dict[str, RemovalRecord]:
    """The runs that are being deleted, by id. One listing; nearly always there are none."""
    return _records(store, RUNS, "run")


def sweep_removals(store: Store) -> dict[str, RemovalRecord]:
    """The sweeps that are being deleted, by id."""
    return _records(store, SWEEPS, "sweep")


def write_removal(store: Store, record: RemovalRecord) -> None:
    """Say that something is being deleted, unless that was said before."""
    from runner.runs.reopened import by_whom  # not above: listings write none

    store.create(_key(record), encoded({**record, **by_whom(), "requested_at": utc_now(), "pid": os.getpid()}))


def end_removal(store: Store, record: RemovalRecord) -> None:
    """Say that all is gone, or that it stays after all."""
    store.delete([_key(record)])


def _key(record: RemovalRecord) -> str:
    return removing_key(record["id"]) if record["kind"] == "run" else removing_sweep_key(record["id"])


def _records(store: Store, folder: str, kind: str) -> dict[str, RemovalRecord]:
    prefix = f"{REMOVING}{folder}"
    found: dict[str, RemovalRecord] = {}
    for info in store.objects(prefix):
        name = info.key.removeprefix(prefix).removesuffix(".json")
        if is_run_id(name):
            record = find_hint(store, info.key, RemovalRecord)
            found[name] = record or {"kind": "sweep" if kind == "sweep" else "run", "id": name, "requested_at": "?"}
    return found
