"""The ended runs that this machine remembers. They never change, but for failed ones that their owners go on with."""

import dataclasses
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.paths import make_folder
from runner.runs.layout import REOPENED, numbered_key
from runner.runs.records import exists, listed_document
from runner.runs.status import RunStatus
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

_READERS = 32
_OCCURS_ONCE = re.compile(r"-[0-9]{8}-[0-9]{6}-[0-9a-z]{4}(-[0-9]{4,})?$")
"""The end of the ids that `runner launch` and `runner sweep launch` make, and of their trials' ids."""


class EndedRuns:
    """A file of JSON lines, one for each ended run that this machine has seen. Only ever appended to.

    Safe to use by several processes at once. A line that makes no sense is ignored; a folder that cannot be written
    costs only speed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, RunStatus]:
        """The runs that are remembered, by id."""
        known: dict[str, RunStatus] = {}
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return known
        for line in lines:
            try:
                row = json.loads(line)
                if "forget" in row:
                    known.pop(row["forget"], None)
                else:
                    known[row["run_id"]] = RunStatus(**row)
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
        return known

    def read_unless_changed(self, store: Store, run_ids: Collection[str]) -> dict[str, RunStatus]:
        """The same, of these runs, without those that are not what they were (`unchanged`).

        Args:
            store: where the runs live.
            run_ids: those that are in the store.
        """
        return unchanged(store, {run_id: status for run_id, status in self.read().items() if run_id in run_ids})

    def add(self, statuses: Iterable[RunStatus]) -> None:
        """Remember runs that have ended."""
        self._append([row_of(status) for status in statuses])

    def forget(self, run_id: str) -> None:
        """Forget a run whose id a new run takes; the old one was deleted with its folder."""
        if self._path.exists():
            self._append([{"forget": run_id}])

    def _append(self, rows: list[dict[str, object]]) -> None:
        if not rows:
            return
        # One write, and a line break first: neither a torn line before ours nor another writer can spoil it.
        data = b"\n" + b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
        try:
            make_folder(self._path.parent)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return
        try:
            os.write(descriptor, data)
        except OSError:
            return
        finally:
            os.close(descriptor)


def unchanged(store: Store, known: Mapping[str, RunStatus]) -> dict[str, RunStatus]:
    """Return those of these ended runs that are still what they were, whatever machine has changed the others.

    Left out are failed runs that their owners have gone on with, and runs whose folder was deleted and whose name
    another run has got. That happens to names that people choose; those that `runner launch` makes occur once.

    Args:
        store: where the runs live.
        known: what is remembered of runs that are in the store, by id.
    """
    doubtful = [
        status for status in known.values() if status.state == "failed" or _OCCURS_ONCE.search(status.run_id) is None
    ]

    def has_changed(status: RunStatus) -> bool:
        if status.state == "failed" and exists(store, numbered_key(status.run_id, REOPENED, status.reopened + 1)):
            return True
        if _OCCURS_ONCE.search(status.run_id) is not None:
            return False
        try:
            return listed_document(store, status.run_id)["created_at"] != status.created_at
        except (NotFound, Damaged):
            return True

    if not doubtful:
        return dict(known)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="changed") as readers:
        changes = zip(doubtful, readers.map(has_changed, doubtful), strict=True)
        changed = {status.run_id for status, has_changed_ in changes if has_changed_}
    return {run_id: status for run_id, status in known.items() if run_id not in changed}


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunStatus)}


def row_of(status: RunStatus) -> dict[str, object]:
    """The fields to remember: those that differ from the default."""
    values = {name: getattr(status, name) for name in _DEFAULTS}
    return {name: value for name, value in values.items() if value != _DEFAULTS[name]}
