"""The ended runs that a store itself remembers, in one object: a machine that has never listed it reads that first.

Whoever lists many runs that are not in it writes it anew; of two that do so at once, one counts: that only costs speed.
It is a hint: which runs there are says the store's listing, what may have changed is looked at (`unchanged`), and an
entry that makes no sense is ignored. A folder is read fast enough without it.
"""

import dataclasses
import gzip
import io
import json
from collections.abc import Collection, Iterable
from contextlib import suppress

from runner.errors import UserError
from runner.runs.layout import LISTED
from runner.runs.record_types.listed import ListedRun, ListedRuns
from runner.runs.records import DamagedRecord, checked
from runner.runs.remembered.ended import row_of
from runner.runs.status import RunStatus
from runner.storage.local import LocalStore
from runner.storage.manifest import Damaged
from runner.storage.store import MOST_BYTES, NotFound, Store, StoreFull, StoreUnavailable

EVERY = 500
"""It is written whenever so many more runs have ended."""
_SMALL = 64
"""So few unknown runs are read one by one."""
_FIELDS = [field.name for field in dataclasses.fields(RunStatus)]
_NAMES = ListedRun.__required_keys__ | ListedRun.__optional_keys__


def read_shared(store: Store, run_ids: Collection[str]) -> dict[str, RunStatus]:
    """Return what the store remembers of these runs, by id; empty if asking costs more than reading them.

    Raises:
        StoreUnavailable, UserError: from the store.
    """
    if isinstance(store, LocalStore) or len(run_ids) < _SMALL:
        return {}
    return {run_id: status for run_id, status in _read(store).items() if run_id in run_ids}


def write_shared(store: Store, ended: Collection[RunStatus], *, before: int) -> None:
    """Have the store remember runs, if that is worth it. Whoever may not write to the store leaves it as it is.

    Args:
        store: where the runs live.
        ended: all that have ended.
        before: how many of them were remembered before this listing.
    """
    if not isinstance(store, LocalStore) and before // EVERY < len(ended) // EVERY:
        _write(store, ended)


def forget_shared(store: Store, run_ids: Collection[str]) -> None:
    """Have the store forget runs that were deleted."""
    if isinstance(store, LocalStore) or not run_ids:
        return
    with suppress(StoreUnavailable, UserError):
        known = _read(store)
        if not known.keys().isdisjoint(run_ids):
            _write(store, [status for run_id, status in known.items() if run_id not in run_ids])


def _write(store: Store, ended: Iterable[RunStatus]) -> None:
    document: ListedRuns = {"fields": _FIELDS, "runs": [row_of(status) for status in ended]}
    data = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), compresslevel=6, mtime=0)
    with suppress(StoreUnavailable, StoreFull, UserError):
        store.put(LISTED, data)


def _read(store: Store) -> dict[str, RunStatus]:
    try:
        with gzip.open(io.BytesIO(store.get(LISTED))) as reader:
            document = checked(LISTED, json.loads(reader.read(MOST_BYTES)), ListedRuns)
    except (NotFound, Damaged, OSError, EOFError, ValueError, RecursionError):
        return {}
    if document["fields"] != _FIELDS:
        return {}
    known = {}
    for row in document["runs"]:
        with suppress(DamagedRecord):
            entry = checked(LISTED, row, ListedRun)
            if entry.keys() <= _NAMES:
                known[entry["run_id"]] = RunStatus(**entry)
    return known
