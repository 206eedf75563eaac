"""Delete runs, and sweeps with their trials: never what is alive, kept, or what another run was made from."""

import contextlib
import fnmatch
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runner.backends.lock import RunLock, RunLocked, lock_holder
from runner.control.sweeping.find import find_sweep
from runner.control.sweeping.results import sweep_overview
from runner.errors import UserError
from runner.paths import engine_cache, listing_cache, state_folder, sweep_folder
from runner.runs.keeping.bases import bases
from runner.runs.keeping.removals import end_removal, removals, sweep_removals, write_removal
from runner.runs.keeping.usage import bytes_by_kind
from runner.runs.layout import RUN, RUNS, is_run_id, marked_key, run_key, run_prefix
from runner.runs.listing import find_run
from runner.runs.marks.marks import KEEP, read_marks
from runner.runs.record_types.marks import RemovalRecord
from runner.runs.record_types.run import RunDocument
from runner.runs.records import exists, run_document
from runner.runs.remembered.ended import EndedRuns
from runner.runs.remembered.shared import forget_shared
from runner.runs.status import RunStatus, run_status
from runner.storage.leftovers.find import delete_leftovers, find_leftovers
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, ObjectInfo, Store
from runner.sweeps.layout import SWEEP, is_sweep_id, sweep_key, sweep_prefix

_AT_ONCE = 1000
_QUIET_SECONDS = 3600.0
"""A run whose records nobody can read is deleted if nothing was written to it for so long."""
_TRIAL = re.compile(r"-[0-9]{4,}")


@dataclass(kw_only=True)
class Removal:
    """What is to be deleted."""

    run_ids: list[str] = field(default_factory=list)
    """Runs, those of sweeps included."""
    sweep_ids: list[str] = field(default_factory=list)
    """Sweeps."""
    bytes_by_kind: Counter[str] = field(default_factory=Counter)
    """What becomes free; ``sweeps`` are records and inputs of sweeps, ``uploads`` and ``versions`` no objects."""
    left: dict[str, str] = field(default_factory=dict)
    """Runs that fit a pattern and stay, with why."""

    @property
    def size(self) -> int:
        """Bytes that become free."""
        return sum(self.bytes_by_kind.values())


def plan_removal(store: Store, words: Sequence[str]) -> Removal:
    """Find what words stand for, and whether it may be deleted. Nothing is.

    Args:
        store: where the runs live.
        words: each a run, as everywhere, a pattern of runs, or a sweep.

    Raises:
        UserError: a word stands for nothing, or for something that must stay. What a pattern stands for and must
            stay is only left out.
    """
    removal = Removal()
    named: dict[str, bool] = {}
    being_removed, sweeps_being_removed = removals(store), sweep_removals(store)
    for word in words:
        if any(letter in word for letter in "*?["):
            fitting = [name for name in _run_ids(store, being_removed) if fnmatch.fnmatchcase(name, word)]
            if not fitting:
                raise UserError(f"no run fits {word!r}", where=store.url, remedy="`runner ps --all` lists every run")
            for name in fitting:
                named.setdefault(name, False)
        elif word in sweeps_being_removed or (sweep_id := _sweep_of(store, word, being_removed)) is not None:
            removal.sweep_ids.append(word if word in sweeps_being_removed else str(sweep_id))
        else:
            named[word if word in being_removed else find_run(store, word)] = True
    of_sweeps = []
    for sweep_id in dict.fromkeys(removal.sweep_ids):
        if sweep_id not in sweeps_being_removed:
            _refuse_alive_sweep(store, sweep_id)
        of_sweeps += [name for name in _run_ids(store, being_removed) if is_trial_of(name, sweep_id)]
    removal.sweep_ids = list(dict.fromkeys(removal.sweep_ids))
    candidates = {**dict.fromkeys(of_sweeps, True), **named}
    needed = bases(store, filter(is_run_id, store.folders(RUNS))) if candidates else {}
    for run_id, is_named in candidates.items():
        why = None
        if run_id not in being_removed:
            why = _why_it_stays(store, run_id, in_sweep=run_id in of_sweeps)
            if why is None and (others := sorted(needed.get(run_id, set()) - candidates.keys())):
                why = UserError(
                    f"{_listed(others)} made from it", where=run_id, remedy="delete what was made from it first"
                )
        if why is None:
            removal.run_ids.append(run_id)
        elif is_named:
            raise why
        else:
            removal.left[run_id] = why.what
    for run_id in removal.run_ids:
        removal.bytes_by_kind.update(bytes_by_kind(run_id, store.objects(run_prefix(run_id))))
        for leftover in find_leftovers(store, run_prefix(run_id)):
            removal.bytes_by_kind[f"{leftover.kind}s"] += leftover.size
    for sweep_id in removal.sweep_ids:
        removal.bytes_by_kind["sweeps"] += sum(info.size for info in store.objects(sweep_prefix(sweep_id)))
    return removal


def remove(store: Store, removal: Removal, *, say: Callable[[str], None] = lambda sentence: None) -> None:
    """Delete what was planned. May be called again after it was cut short: what is left is found by its name.

    Args:
        store: where it lives.
        removal: what.
        say: receives each run that is not deleted after all, and why.

    Raises:
        StoreUnavailable, UserError: from the store.
    """
    for sweep_id in removal.sweep_ids:
        write_removal(store, RemovalRecord(kind="sweep", id=sweep_id, requested_at=""))
        store.delete([sweep_key(sweep_id, SWEEP)])  # no worker begins from now on
    for run_id in removal.run_ids:
        try:
            in_sweep = any(is_trial_of(run_id, sweep_id) for sweep_id in removal.sweep_ids)
            remove_run(store, run_id, in_sweep=in_sweep)
        except UserError as error:
            say(str(error))
    forget_shared(store, removal.run_ids)
    for sweep_id in removal.sweep_ids:
        _delete_all(store, sweep_prefix(sweep_id))
        shutil.rmtree(sweep_folder(store.url, sweep_id), ignore_errors=True)
        end_removal(store, RemovalRecord(kind="sweep", id=sweep_id, requested_at=""))


def remove_run(store: Store, run_id: str, *, in_sweep: bool = False) -> None:
    """Delete a run that has ended: first say so, then ``run.json``, so that nothing begins, then all else.

    Args:
        store: where the run lives.
        run_id: the run.
        in_sweep: whether its sweep goes with it: then it need not have ended, only not run.

    Raises:
        UserError: it goes on meanwhile; it stays.
    """
    record = RemovalRecord(kind="run", id=run_id, requested_at="")
    folder = state_folder(store.url, run_id)
    try:
        lock = RunLock.take(folder)
    except RunLocked as locked:
        raise UserError(f"the run is supervised by process {locked.pid or '?'} on this machine", where=run_id) from None
    try:
        with contextlib.suppress(NotFound, Damaged):
            document = run_document(store, run_id)
            record["recipe"], record["created_at"] = document["name"], document["created_at"]
        write_removal(store, record)
        # Look again now that it is said: somebody may have gone on with a failed run a moment before.
        with contextlib.suppress(NotFound, Damaged):
            status = run_status(store, run_id)
            if status.state == "running" or not (status.terminal or in_sweep):
                end_removal(store, record)
                raise _alive(status)
        store.delete([run_key(run_id, RUN)])
        _delete_all(store, run_prefix(run_id))
        store.delete([marked_key(run_id)])
        shutil.rmtree(folder, ignore_errors=True)  # not of a run that stays: it may hold what the store has not yet
    finally:
        lock.close()
    engine_cache(store.url, run_id).unlink(missing_ok=True)
    EndedRuns(listing_cache(store.url)).forget(run_id)
    end_removal(store, record)


def is_trial_of(run_id: str, sweep_id: str) -> bool:
    """Whether a run's id is that of a trial of the sweep."""
    return run_id.startswith(sweep_id) and _TRIAL.fullmatch(run_id[len(sweep_id) :]) is not None


def _run_ids(store: Store, being_removed: dict[str, RemovalRecord]) -> list[str]:
    return sorted({*filter(is_run_id, store.folders(RUNS)), *being_removed})


def _sweep_of(store: Store, word: str, being_removed: dict[str, RemovalRecord]) -> str | None:
    """Return the sweep that a word stands for; a run of the same name goes first."""
    if word == "last" or word in being_removed or (is_run_id(word) and exists(store, run_key(word, RUN))):
        return None
    if is_sweep_id(word) and exists(store, sweep_key(word, SWEEP)):
        return word
    try:
        find_run(store, word)
    except UserError:
        with contextlib.suppress(UserError):
            return find_sweep(store, word)
    return None


def _refuse_alive_sweep(store: Store, sweep_id: str) -> None:
    overview = sweep_overview(store, sweep_id)
    if overview.condition not in ("succeeded", "failed", "stopped") or overview.workers:
        raise UserError(
            f"the sweep is {overview.condition}", where=sweep_id, remedy=f"`runner sweep stop {sweep_id}` ends it"
        )


def _why_it_stays(store: Store, run_id: str, *, in_sweep: bool) -> UserError | None:
    """Return why a run must not be deleted; None if it may be."""
    if lock_holder(state_folder(store.url, run_id)) is not None:
        return UserError("the run is running on this machine", where=run_id, remedy=f"`runner cancel {run_id}` ends it")
    if KEEP in read_marks(store, run_id).tags:
        remedy = f"`runner tag {run_id} {KEEP} --remove` takes the tag from it"
        return UserError(f"the run has the tag `{KEEP}`", where=run_id, remedy=remedy)
    try:
        document = run_document(store, run_id)
        status = run_status(store, run_id, document=document)
    except (Damaged, NotFound):
        newest = max((info.last_modified for info in store.objects(run_prefix(run_id))), default=None)
        if newest is not None and (datetime.now(UTC) - newest).total_seconds() < _QUIET_SECONDS:
            return UserError(
                "the run's records cannot be read, and it was written to within the last hour",
                where=run_id,
                remedy="it may be running; try again later",
            )
        return None
    if status.state == "running" or not (status.terminal or in_sweep):
        return _alive(status)
    if not in_sweep and (sweep_id := sweep_that_needs(store, document)) is not None:
        remedy = f"`runner rm {sweep_id}` deletes the sweep with all of its trials"
        return UserError(f"the run is a trial of the sweep {sweep_id}", where=run_id, remedy=remedy)
    return None


def sweep_that_needs(store: Store, document: RunDocument) -> str | None:
    """Return the sweep that a run is a trial of, as long as that is in the store."""
    sweep = document.get("sweep")
    if sweep is None or not exists(store, sweep_key(sweep["sweep_id"], SWEEP)):
        return None
    return sweep["sweep_id"]


def _alive(status: RunStatus) -> UserError:
    can = "and can go on" if status.state == "interrupted" else "and has not ended"
    return UserError(
        f"the run is {status.shown_state} {can}",
        where=status.run_id,
        remedy=f"`runner cancel {status.run_id}` ends it for good; then it can be deleted",
    )


def _listed(others: Sequence[str]) -> str:
    shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return f"{shown} {'was' if len(others) == 1 else 'were'}"


def delete_objects(store: Store, infos: Sequence[ObjectInfo]) -> None:
    """Delete objects, manifests first: what is left of a folder is not taken for whole."""
    keys = sorted((info.key for info in infos), key=lambda key: (not key.endswith("/manifest.json"), key))
    for begin in range(0, len(keys), _AT_ONCE):
        store.delete(keys[begin : begin + _AT_ONCE])


def _delete_all(store: Store, prefix: str) -> None:
    """Delete a folder: objects, what an upload that was cut short has left, and older versions."""
    delete_objects(store, list(store.objects(prefix)))
    delete_leftovers(store, find_leftovers(store, prefix))
