"""Compare runs: read each, with what its sweep knows of it, and say what differs and which is best."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

from runner.control.results.comparing.choose import Chosen, OnDamaged
from runner.control.results.comparing.read import read_run
from runner.control.results.comparing.sweeps import common_sweep, sweeps_of, tracked, with_sweep
from runner.control.sweeping.results import sorted_rows
from runner.errors import UserError
from runner.reports.comparison import ComparedRun, Comparison, compare_runs, rows
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

_READERS = 16


def compare(store: Store, chosen: Chosen, *, sort: str | None = None, on_damaged: OnDamaged) -> Comparison:
    """Read runs and compare them.

    Args:
        store: where the runs live.
        chosen: which.
        sort: the column of `runner.reports.comparison.rows` that orders them, downwards with ``-`` before it.
        on_damaged: called with the id and the error of each run that cannot be read (it is left out), or whose metrics
            cannot (it is there without curves).

    Raises:
        UserError: there is no such column.
        Damaged: no run can be read.
    """
    errors: list[Damaged] = []

    def read(run_id: str) -> ComparedRun | Damaged | None:
        problems: list[Damaged] = []
        try:
            run = read_run(store, run_id, problems.append)
        except NotFound:
            return None
        except Damaged as error:
            return error
        for problem in problems:
            on_damaged(run_id, problem)
        return run

    runs = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="compare") as readers:
        for run_id, found in zip(chosen.run_ids, readers.map(read, chosen.run_ids), strict=True):
            if isinstance(found, Damaged):
                errors.append(found)
                on_damaged(run_id, found)
            elif found is not None:
                runs.append(found)
    if not runs and errors:
        raise errors[0]
    if not runs:
        raise UserError("none of these runs is in the store", where=store.url, remedy="`runner ps --all` lists them")
    sweeps = sweeps_of(store, runs, chosen.sweeps)
    runs = [with_sweep(run, sweeps.get(run.sweep_id or "")) for run in runs]
    definition = common_sweep(runs, sweeps)
    metric = definition.metric if definition else None
    maximize = definition is not None and definition.goal == "maximize"
    if definition is None:
        metric, maximize = tracked(runs)
    comparison = compare_runs(runs, metric=metric, maximize=maximize)
    if sort is None:
        return comparison
    order = [row["run_id"] for row in sorted_rows(rows(comparison), sort)]
    return dataclasses.replace(comparison, runs=sorted(runs, key=lambda run: order.index(run.run_id)))
