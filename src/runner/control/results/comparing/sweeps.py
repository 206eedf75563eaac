"""What the sweeps of compared runs know of them, and the metric by which one run is the best."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.control.sweeping.results import sweep_overview
from runner.reports.comparison import ComparedRun
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import Definition
from runner.sweeps.views.overview import Overview, TrialRow


def sweeps_of(store: Store, runs: Sequence[ComparedRun], known: Mapping[str, Overview]) -> dict[str, Overview]:
    """The sweeps of trials; one that cannot be read is left out: its trials are runs all the same."""
    sweeps = dict(known)
    for sweep_id in dict.fromkeys(run.sweep_id for run in runs if run.sweep_id):
        if sweep_id not in sweeps:
            try:
                sweeps[sweep_id] = sweep_overview(store, sweep_id)
            except (NotFound, Damaged):
                continue
    return sweeps


def with_sweep(run: ComparedRun, overview: Overview | None) -> ComparedRun:
    """The run with what its sweep's journal knows: what it took and cost, and its metric."""
    row: TrialRow | None = None
    if overview is not None:
        row = next((row for row in overview.trials if row.run_id == run.run_id), None)
    if overview is None or row is None:
        return run
    trial, metric = row.trial, overview.definition.metric
    measured = dict(run.measured)
    if trial.value is not None and metric not in measured:
        measured[metric] = trial.value
    names = [*trial.settings, *trial.values, *run.drawn]
    return dataclasses.replace(
        run,
        drawn={name: run.settings[name] for name in dict.fromkeys(names) if name in run.settings},
        measured=measured,
        seconds=trial.seconds or run.seconds,
        dollars=trial.cost or run.dollars,
    )


def tracked(runs: Sequence[ComparedRun]) -> tuple[str | None, bool]:
    """The metric by which each run's recipe says which model is best, if all say the same and have it; else None.

    Returns:
        The metric's name, and whether more of it is better.
    """
    last = ("training.metric_for_best_model", "training.greater_is_better")
    found = {tuple(next(_values(run.settings, name), None) for name in last) for run in runs}
    written, greater = next(iter(found))
    if len(found) > 1 or not isinstance(written, str):
        return None, False
    names = [name for name in (f"eval_{written.removeprefix('eval_')}", written) if _all_have(runs, name)]
    if not names:
        return None, False
    return names[0], greater if isinstance(greater, bool) else not written.endswith("loss")


def _values(settings: Mapping[str, Any], name: str) -> Iterator[Any]:
    """Yield a setting's values, of the last stage first."""
    yield from (value for key, value in reversed(list(settings.items())) if key == name or key.endswith(f".{name}"))


def _all_have(runs: Sequence[ComparedRun], metric: str) -> bool:
    return all(run.value(metric) is not None for run in runs)


def common_sweep(runs: Sequence[ComparedRun], sweeps: Mapping[str, Overview]) -> Definition | None:
    """The definition of the sweep that all runs are of."""
    of = {run.sweep_id for run in runs}
    overview = sweeps.get(next(iter(of)) or "") if len(of) == 1 else None
    return overview.definition if overview else None
