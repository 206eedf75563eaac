"""The Python API for sweeps: launch them, look at them. Public as `runner.sweep`, `runner.Sweep`."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.opening import confirm_or_refuse, opened_store, several, user_errors
from runner.api.runs import Run, runs_table, warn_of_damage
from runner.api.tables import Table
from runner.backends.base import ResourceOptions, poll_seconds
from runner.control.launching.cost import CostQuestion
from runner.control.sweeping.best import best_trials
from runner.control.sweeping.define import SweepOptions
from runner.control.sweeping.find import find_sweep, journal_of
from runner.control.sweeping.find import list_sweeps as sweeps_at_a_glance
from runner.control.sweeping.launch import launch_sweep
from runner.control.sweeping.results import sweep_overview
from runner.control.sweeping.resume import ResumeSweepOptions, resume_sweep
from runner.control.sweeping.status import sweep_status
from runner.control.sweeping.stop import note_lost, stop_sweep
from runner.storage.store import Store
from runner.sweeps.layout import trial_run_id
from runner.sweeps.views.overview import Overview, TrialRow

_log = logging.getLogger("runner")


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What became of a trial."""

    number: int
    """Its number in the sweep, counted from 0 in the order in which the trials were drawn."""
    run_id: str
    """Its run's id."""
    outlook: str
    """What becomes of it: ``finished``, ``running``, ``stopped``, …"""
    why: str
    """Why, in words."""
    settings: Mapping[str, Any]
    """What was drawn, by the dotted name of the setting."""
    value: float | None
    """The metric's newest value."""
    step: int
    """The step of its newest known checkpoint."""
    seconds: float
    """How long workers have had it."""
    cost: float
    """What that cost, in US dollars."""


class Sweep:
    """A sweep in a store.

    Args:
        sweep_id: its id, the beginning or the end of it, or ``last``.
        store: a folder or URL; None for ``RUNNER_STORE``, or else runner's own folder.

    Raises:
        UserError: there is no such sweep, or the store does not answer.

    Example:
        >>> sweep = runner.Sweep("last")
        >>> sweep.best()["training"]["learning_rate"]
        0.0021
    """

    def __init__(self, sweep_id: str, store: str | os.PathLike[str] | None = None) -> None:
        self._store = opened_store(store)
        with user_errors(self._store):
            self._sweep_id = find_sweep(self._store, sweep_id)

    @classmethod
    def _known(cls, store: Store, sweep_id: str) -> "Sweep":
        """A sweep that is known to exist."""
        sweep = cls.__new__(cls)
        sweep._store, sweep._sweep_id = store, sweep_id
        return sweep

    def __repr__(self) -> str:
        return f"Sweep({self._sweep_id!r}, {self._store.url!r})"

    @property
    def sweep_id(self) -> str:
        """The sweep's id."""
        return self._sweep_id

    @property
    def store(self) -> str:
        """The store's URL."""
        return self._store.url

    def status(self) -> Overview:
        """Look at the sweep.

        Returns:
            Its condition, rungs and trials, each with why it stopped or went on, and what it has cost.

        Raises:
            UserError: the store does not answer.

        Example:
            >>> sweep.status().condition
            'running'
        """
        with user_errors(self._store):
            return sweep_status(self._store, self._sweep_id).overview

    def best(self) -> dict[str, Any]:
        """Return the recipe of the best trial, which `runner.launch` takes as it is.

        Raises:
            UserError: no trial has a result yet.
        """
        with user_errors(self._store):
            _, trials = best_trials(self._store, self._sweep_id, say=_log.info)
            return dict(trials[0].recipe)

    def best_run(self) -> Run:
        """Return the run of the best trial.

        Raises:
            UserError: no trial has a result yet.

        Example:
            >>> sweep.best_run().pull("my-model")
        """
        with user_errors(self._store):
            _, trials = best_trials(self._store, self._sweep_id, say=_log.info)
        return Run._known(self._store, trials[0].run_id)

    def runs(self) -> Table[Run]:
        """Return the runs of the trials, in the order in which they were drawn; the list has `to_pandas`."""
        with user_errors(self._store):
            numbers = sorted(journal_of(self._store, self._sweep_id).catch_up().trials)
        return runs_table([Run._known(self._store, trial_run_id(self._sweep_id, number)) for number in numbers], {})

    def trials(self) -> "Table[TrialResult]":
        """Return the trials, the best first; the list has `to_pandas`, with a column for each setting.

        Raises:
            UserError: the store does not answer.

        Example:
            >>> sweep.trials()[0].settings
            {'training.learning_rate': 0.0021}
        """
        with user_errors(self._store):
            overview = sweep_overview(self._store, self._sweep_id)
        return Table([_trial_result(row) for row in overview.trials], _trial_columns)

    def to_pandas(self) -> Any:
        """Return the trials as a `pandas.DataFrame`, the best first.

        Raises:
            UserError: pandas is not installed, or the store does not answer.
        """
        return self.trials().to_pandas()

    def wait(self, timeout_seconds: float | None = None) -> Overview:
        """Wait until the sweep has ended, or is stopped and no trial runs.

        Args:
            timeout_seconds: the longest time to wait; None to wait as long as it takes.

        Returns:
            Where it stands then.

        Raises:
            UserError: the store does not answer.
        """
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with user_errors(self._store):
            journal = journal_of(self._store, self._sweep_id)
            while True:
                state = journal.catch_up()
                over = state.ended is not None or (state.stop is not None and not state.running)
                if over or (until is not None and time.monotonic() > until):
                    return sweep_status(self._store, self._sweep_id).overview
                note_lost(self._store, journal)
                time.sleep(poll_seconds(self._store))

    def stop(self, *, drain: bool = False) -> Overview:
        """Pause the sweep and end its machines.

        Args:
            drain: let trials that run reach their next rung first.

        Raises:
            UserError: the store does not answer.
        """
        with user_errors(self._store):
            stop_sweep(self._store, self._sweep_id, drain=drain, say=_log.info)
        return self.status()

    def resume(
        self,
        *,
        parallel: int | None = None,
        run_cap: int | None = None,
        max_cost: float | None = None,
        max_hours: float | None = None,
        gpu: str | Sequence[str] | None = None,
        infra: str | Sequence[str] | None = None,
        spot: bool | None = None,
    ) -> "Sweep":
        """Go on with the sweep in the background.

        Args:
            parallel: how many workers are started.
            run_cap: the most trials in all.
            max_cost: US dollars for the whole sweep, what it has cost so far included.
            max_hours: hours in which it has workers, those so far included.
            gpu, infra, spot: other machines, as in `sweep`.

        Raises:
            UserError: its budget is spent, or no machine would do.
        """
        options = ResumeSweepOptions(
            sweep_id=self._sweep_id,
            parallel=parallel,
            run_cap=run_cap,
            max_cost=max_cost,
            max_hours=max_hours,
            resources=ResourceOptions(gpus=several(gpu), infra=several(infra), use_spot=spot),
            detach=True,
        )
        with user_errors(self._store):
            resume_sweep(self._store, options, say=_log.info)
        return self


def list_sweeps(store: str | os.PathLike[str] | None = None) -> Table[Sweep]:
    """List the sweeps of a store, the newest first. The list has `to_pandas`.

    Args:
        store: a folder or URL; None for ``RUNNER_STORE``, or else runner's own folder.

    Raises:
        UserError: the store does not answer.

    Example:
        >>> [sweep.sweep_id for sweep in runner.list_sweeps() if sweep.status().condition == "running"]
        []
    """
    opened = opened_store(store)
    with user_errors(opened):
        overviews, _ = sweeps_at_a_glance(opened, on_damaged=warn_of_damage)
    known = {overview.definition.sweep_id: overview for overview in overviews}
    return Table([Sweep._known(opened, name) for name in known], lambda sweep: _sweep_columns(known[sweep.sweep_id]))


def sweep(
    file: str | os.PathLike[str],
    *,
    gpu: str | Sequence[str] | None = None,
    infra: str | Sequence[str] | None = None,
    spot: bool | None = None,
    parallel: int | None = None,
    run_cap: int | None = None,
    max_cost: float | None = None,
    max_hours: float | None = None,
    store: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    known: Sequence[str] = (),
    name: str | None = None,
    image: str | None = None,
    env_files: Sequence[str | os.PathLike[str]] = (),
    secrets: Sequence[str] = (),
    max_hourly_cost: float | None = None,
    confirm: Callable[[CostQuestion], bool] | None = None,
) -> Sweep:
    """Start a sweep in the background, as ``runner sweep launch --detach`` does.

    Args:
        file: a W&B sweep configuration, by path, or by name in ``jobs/sweeps/``.
        gpu: the GPU of a trial, such as ``"L4"``; several: any of them.
        infra: where, as in `runner.launch`; several: any of them.
        spot: True for spot machines, False for others; None for what the file and the recipe say.
        parallel: how many trials train at once.
        run_cap: the most trials.
        max_cost: the most that the whole sweep may cost, in US dollars.
        max_hours: the most hours in which it has workers.
        store: where the sweep lives, a folder or URL; None for ``RUNNER_STORE``, or else runner's own folder.
        overrides: ``"KEY=VALUE"`` strings: settings of the recipe to change for all trials.
        known: sweeps and runs whose results count.
        name: the sweep's id.
        image: the image, by name or digest.
        env_files: files of ``NAME=value`` lines that the workers are given.
        secrets: names of environment variables that the workers are given.
        max_hourly_cost: the most that one hour of a machine may cost, in US dollars.
        confirm: called with a question if the sweep may cost more than ``RUNNER_ASK_ABOVE``.

    Returns:
        The sweep; its workers have begun, or SkyPilot has them.

    Raises:
        UserError: the file, the recipe, the machines or the store is not as it has to be; or it may cost more than the
            limit, and `confirm` is None or returned False.

    Example:
        >>> runner.sweep("quickstart-halving", parallel=2).wait().condition
        'succeeded'
    """
    opened = opened_store(store)
    options = SweepOptions(
        file=os.fspath(file),
        overrides=several(overrides),
        name=name,
        parallel=parallel,
        run_cap=run_cap,
        max_cost=max_cost,
        max_hours=max_hours,
        known=several(known),
        resources=ResourceOptions(
            gpus=several(gpu), infra=several(infra), use_spot=spot, max_hourly_cost=max_hourly_cost
        ),
        image=image,
        env_files=[Path(path) for path in env_files],
        secrets=several(secrets),
        detach=True,
    )
    with user_errors(opened):
        launched = launch_sweep(opened, options, confirm=confirm_or_refuse(confirm), say=_log.info)
    return Sweep._known(opened, launched.sweep_id)


def _trial_result(row: TrialRow) -> TrialResult:
    trial = row.trial
    return TrialResult(
        number=trial.number,
        run_id=row.run_id,
        outlook=row.outlook,
        why=row.why,
        settings=dict(trial.settings),
        value=trial.value,
        step=trial.step,
        seconds=trial.seconds,
        cost=trial.cost,
    )


def _trial_columns(trial: TrialResult) -> dict[str, Any]:
    columns = {name: value for name, value in vars(trial).items() if name != "settings"}
    return {**columns, **{name: value for name, value in trial.settings.items() if name not in columns}}


def _sweep_columns(overview: Overview) -> dict[str, Any]:
    best = overview.best
    return {
        "sweep_id": overview.definition.sweep_id,
        "created_at": overview.definition.created_at,
        "condition": overview.condition,
        "reason": overview.reason,
        "trials": len(overview.trials),
        "metric": overview.definition.metric,
        "best_trial": best.number if best else None,
        "best_value": best.value if best else None,
        "spent": overview.spent,
        "hours": overview.hours,
    }
