"""All runs of a store, and finding one of them. Ended runs never change, so this machine remembers them."""

import dataclasses
import difflib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from runner.errors import UserError
from runner.paths import listing_cache, make_folder
from runner.runs.keeping.removals import removals
from runner.runs.layout import REOPENED, RUN, RUNS, is_run_id, numbered_key, run_key
from runner.runs.records import exists, listed_document
from runner.runs.status import RunStatus, run_status
from runner.storage.local import LocalStore
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

R = TypeVar("R")

_READERS = 32
_FIRST_READS = 64
_QUICK_SECONDS = 0.001
"""A run whose records are read in less than this is not worth a thread."""
_OCCURS_ONCE = re.compile(r"-[0-9]{8}-[0-9]{6}-[0-9a-z]{4}(-[0-9]{4,})?$")
"""The end of the ids that `runner launch` and `runner sweep launch` make, and of their trials' ids."""


def list_runs(
    store: Store, *, on_damaged: Callable[[str, Damaged], None] = lambda run_id, error: None
) -> list[RunStatus]:
    """Every run of the store, the newest first.

    A folder without a ``run.json`` is not a run (its submission was cut short, say), and is left out; so is a run that
    is being deleted.

    Args:
        store: where runs live.
        on_damaged: called with the id of a run that is left out because one of its records cannot be trusted.
    """
    memory = EndedRuns(listing_cache(store.url))
    run_ids = set(filter(is_run_id, store.folders(RUNS)))
    ended = memory.read_unless_changed(store, run_ids)
    removed = removals(store)
    unknown = []
    runs = []
    for run_id in sorted(run_ids - removed.keys()):
        if run_id in ended:
            runs.append(ended[run_id])
        else:
            unknown.append(run_id)
    fresh = list(look_at(store, unknown, on_damaged=on_damaged))
    memory.add(status for status in fresh if status.terminal)
    return sorted(runs + fresh, key=lambda status: (status.created_at, status.run_id), reverse=True)


def look_at(
    store: Store,
    run_ids: Iterable[str],
    *,
    on_damaged: Callable[[str, Damaged], None] = lambda run_id, error: None,
) -> Iterator[RunStatus]:
    """The status of each of these runs, read in parallel; arguments as for `list_runs`."""

    def status_or_error(run_id: str) -> RunStatus | Damaged | None:
        try:
            return run_status(store, run_id, document=listed_document(store, run_id))
        except NotFound:
            return None
        except Damaged as error:
            return error

    names = list(run_ids)
    for run_id, status in zip(names, _read_all(store, status_or_error, names), strict=True):
        if isinstance(status, Damaged):
            on_damaged(run_id, status)
        elif status is not None:
            yield status


def _read_all(store: Store, read: Callable[[str], R], names: Sequence[str]) -> Iterator[R]:
    """Read in threads what takes time to arrive. A disk of this machine is faster without them; a network mount is not.

    Args:
        store: where it lies.
        read: reads one.
        names: what to read.
    """
    first = names[:_FIRST_READS] if isinstance(store, LocalStore) else []
    began = time.perf_counter()
    yield from map(read, first)
    rest = names[len(first) :]
    if first and time.perf_counter() - began < len(first) * _QUICK_SECONDS:
        yield from map(read, rest)
    elif rest:
        with ThreadPoolExecutor(_READERS, thread_name_prefix="listing") as readers:
            yield from readers.map(read, rest)


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
        """The same, of these runs, without those that are not what they were, whatever machine has changed them.

        Left out are failed runs that their owners have gone on with, and runs whose folder was deleted and whose name
        another run has got. That happens to names that people choose; those that `runner launch` makes occur once.

        Args:
            store: where the runs live.
            run_ids: those that are in the store.
        """
        known = {run_id: status for run_id, status in self.read().items() if run_id in run_ids}
        doubtful = [
            status
            for status in known.values()
            if status.state == "failed" or _OCCURS_ONCE.search(status.run_id) is None
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

        if doubtful:
            with ThreadPoolExecutor(_READERS, thread_name_prefix="changed") as readers:
                for status, changed in zip(doubtful, readers.map(has_changed, doubtful), strict=True):
                    if changed:
                        del known[status.run_id]
        return known

    def add(self, statuses: Iterable[RunStatus]) -> None:
        """Remember runs that have ended."""
        self._append([_row(status) for status in statuses])

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


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunStatus)}


def _row(status: RunStatus) -> dict[str, object]:
    """The fields to remember: those that differ from the default."""
    values = {name: getattr(status, name) for name in _DEFAULTS}
    return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


_MOST_CHECKED = 10

LAST = "last"
"""Names the run that was submitted last."""


def find_run(store: Store, text: str) -> str:
    """The id of the run that `text` names.

    Raises:
        UserError: it names none, or more than one; the message names similar ids.
    """
    if text == LAST:
        runs = list_runs(store)
        if not runs:
            raise UserError("there is no run yet", where=store.url, remedy="`runner launch RECIPE` starts one")
        return runs[0].run_id
    if is_run_id(text) and exists(store, run_key(text, RUN)):
        return text
    known = list(filter(is_run_id, store.folders(RUNS)))
    names = [name for name in known if name.startswith(text) or name.endswith(text)] if text else []
    matches = names if len(names) > _MOST_CHECKED else [name for name in names if exists(store, run_key(name, RUN))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (f" and {len(matches) - 5} more" if len(matches) > 5 else "")
        raise UserError(
            f"{text!r} fits {len(matches)} runs: {shown}",
            remedy="write more of the id; `runner ps --all` lists every run",
        )
    if text in removals(store):
        raise UserError("the run is being deleted", where=text, remedy=f"`runner rm {text}` finishes that")
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
    raise UserError(
        f"no run {text!r} in {store.url}",
        remedy=f"did you mean {' or '.join(near)}?" if near else "`runner ps --all` lists the runs of the store",
    )
