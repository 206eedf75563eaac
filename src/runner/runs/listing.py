"""All runs of a store, and finding one of them. Ended runs never change, so this machine remembers them."""

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.errors import UserError
from runner.paths import listing_cache, make_folder
from runner.runs.layout import REOPENED, RUN, RUNS, is_run_id, numbered_key, run_key
from runner.runs.records import exists
from runner.runs.status import RunStatus, run_status
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

_READERS = 32


def list_runs(
    store: Store, *, on_damaged: Callable[[str, Damaged], None] = lambda run_id, error: None
) -> list[RunStatus]:
    """Every run of the store, the newest first.

    A folder without a ``run.json`` is not a run (its submission was cut short, say), and is left out.

    Args:
        store: where runs live.
        on_damaged: called with the id of a run that is left out because one of its records cannot be trusted.
    """
    memory = EndedRuns(listing_cache(store.url))
    ended = memory.read_unless_reopened(store)
    unknown = []
    runs = []
    for run_id in filter(is_run_id, store.folders(RUNS)):
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
            return run_status(store, run_id)
        except NotFound:
            return None
        except Damaged as error:
            return error

    names = list(run_ids)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="listing") as readers:
        for run_id, status in zip(names, readers.map(status_or_error, names), strict=True):
            if isinstance(status, Damaged):
                on_damaged(run_id, status)
            elif status is not None:
                yield status


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

    def read_unless_reopened(self, store: Store) -> dict[str, RunStatus]:
        """The same, without failed runs that their owners have gone on with since, from whatever machine."""
        known = self.read()
        failed = [status for status in known.values() if status.state == "failed"]

        def is_reopened(status: RunStatus) -> bool:
            return exists(store, numbered_key(status.run_id, REOPENED, status.reopened + 1))

        if failed:
            with ThreadPoolExecutor(_READERS, thread_name_prefix="reopened") as readers:
                for status, reopened in zip(failed, readers.map(is_reopened, failed), strict=True):
                    if reopened:
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
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
    raise UserError(
        f"no run {text!r} in {store.url}",
        remedy=f"did you mean {' or '.join(near)}?" if near else "`runner ps --all` lists the runs of the store",
    )
