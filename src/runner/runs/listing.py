"""All runs of a store, and finding one of them. Ended runs never change, so they are remembered (`remembered/`)."""

import difflib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from runner.errors import UserError
from runner.paths import listing_cache
from runner.runs.keeping.removals import removals
from runner.runs.layout import RUN, RUNS, is_run_id, run_key
from runner.runs.records import exists, listed_document
from runner.runs.remembered.ended import EndedRuns, unchanged
from runner.runs.remembered.shared import read_shared, write_shared
from runner.runs.status import RunStatus, run_status
from runner.storage.local import LocalStore
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

R = TypeVar("R")

_READERS = 32
_FIRST_READS = 64
_QUICK_SECONDS = 0.001
"""A run whose records are read in less than this is not worth a thread."""


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
    run_ids -= removals(store).keys()
    shared = unchanged(store, read_shared(store, run_ids - ended.keys()))
    known = {run_id: status for run_id, status in (ended | shared).items() if run_id in run_ids}
    fresh = list(look_at(store, sorted(run_ids - known.keys()), on_damaged=on_damaged))
    new = [status for status in fresh if status.terminal]
    memory.add([*shared.values(), *new])
    write_shared(store, [*known.values(), *new], before=len(known))
    return sorted([*known.values(), *fresh], key=lambda status: (status.created_at, status.run_id), reverse=True)


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
