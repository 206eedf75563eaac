"""Which runs the words of a command line stand for: ids, `last`, patterns, and sweeps."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runner.control.sweeping.find import find_sweep
from runner.control.sweeping.results import sweep_overview
from runner.errors import UserError
from runner.runs.layout import RUN, RUNS, is_run_id, run_key
from runner.runs.listing import LAST, find_run, list_runs
from runner.runs.records import exists
from runner.storage.manifest import Damaged
from runner.storage.store import Store
from runner.sweeps.layout import SWEEP, is_sweep_id, sweep_key
from runner.sweeps.views.overview import Overview

MOST = 20
"""Runs that a pattern or a sweep stands for, unless all are asked for."""

OnDamaged = Callable[[str, Damaged], None]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The runs that the words of a command line stand for."""

    run_ids: Sequence[str]
    """Each once, in the order of the words."""
    sweeps: Mapping[str, Overview]
    """The sweeps that were read on the way."""
    left_out: Mapping[str, int]
    """How many more runs each word stands for."""


def choose_runs(store: Store, words: Sequence[str], *, everything: bool = False, on_damaged: OnDamaged) -> Chosen:
    """Return the runs that words stand for.

    Args:
        store: where the runs live.
        words: each a run's id, its beginning or end, ``last``, a pattern (``quickstart-*``), or a sweep, whose trials
            come the best first.
        everything: whether patterns and sweeps stand for all of their runs, not for `MOST`.
        on_damaged: called with the id and the error of a run that fits a pattern and cannot be read.

    Raises:
        UserError: a word stands for nothing.
        Damaged: a sweep cannot be read.
    """
    run_ids: dict[str, None] = {}
    sweeps: dict[str, Overview] = {}
    left_out = {}
    for word in words:
        found = _fitting(store, word, sweeps, on_damaged)
        cut = len(found) if everything else MOST
        run_ids |= dict.fromkeys(found[:cut])
        if len(found) > cut:
            left_out[word] = len(found) - cut
    return Chosen(run_ids=list(run_ids), sweeps=sweeps, left_out=left_out)


def _fitting(store: Store, word: str, sweeps: dict[str, Overview], on_damaged: OnDamaged) -> list[str]:
    if word == LAST or (is_run_id(word) and exists(store, run_key(word, RUN))):
        return [find_run(store, word)]
    if any(letter in word for letter in "*?["):
        return _of_pattern(store, word, on_damaged)
    if is_sweep_id(word) and exists(store, sweep_key(word, SWEEP)):
        return _trials(store, word, sweeps)
    try:
        return [find_run(store, word)]
    except UserError as error:
        try:
            sweep_id = find_sweep(store, word)
        except UserError:
            raise error from None
        return _trials(store, sweep_id, sweeps)


def _of_pattern(store: Store, pattern: str, on_damaged: OnDamaged) -> list[str]:
    def note(run_id: str, error: Damaged) -> None:
        if fnmatch.fnmatchcase(run_id, pattern):
            on_damaged(run_id, error)

    found = [
        run.run_id for run in list_runs(store, on_damaged=note) if fnmatch.fnmatchcase(run.run_id, pattern)
    ]  # the newest first
    if not found:
        raise UserError(f"no run fits {pattern!r}", where=store.url, remedy="`runner ps --all` lists every run")
    return found


def _trials(store: Store, sweep_id: str, sweeps: dict[str, Overview]) -> list[str]:
    sweeps[sweep_id] = overview = sweep_overview(store, sweep_id)
    there = {run_id for run_id in store.folders(RUNS) if run_id.startswith(sweep_id)}
    found = [row.run_id for row in overview.trials if row.run_id in there]
    if not found:
        remedy = f"`runner sweep status {sweep_id}` says where it stands"
        raise UserError(f"no trial of the sweep {sweep_id} has begun", where=store.url, remedy=remedy)
    return found
