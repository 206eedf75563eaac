"""A sweep at a glance: where it stands, rung by rung and trial by trial. Pure: no store, no clock."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from runner.sweeps.controller import Controller
from runner.sweeps.definition import Definition
from runner.sweeps.ending import limit
from runner.sweeps.layout import trial_run_id
from runner.sweeps.members import WORST, Trial, Worker
from runner.sweeps.state import SweepState
from runner.sweeps.views.forecast import forecast, total_steps
from runner.sweeps.views.verdicts import Outlook, Verdicts

Condition = Literal["waiting for workers", "running", "stopping", "stopped", "succeeded", "failed"]


@dataclass(frozen=True, kw_only=True)
class RungRow:
    """A rung of a bracket, or the end of the training."""

    bracket: int
    rung: int
    step: int | None
    """None: the end of the training, whose step nobody knows."""
    is_last: bool
    """Whether it is the end of the training."""
    heading: int
    """Trials that train towards it, or are about to."""
    reached: int
    promoted: int
    """Of those, how many have gone on."""
    waiting: int
    """How many may go on or not."""
    stopped: int
    """How many stay there."""
    failed: int
    """How many have failed on their way to it."""
    best: int | None
    """The best trial there."""
    value: float | None
    """Its metric there."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A trial, and what becomes of it."""

    trial: Trial
    run_id: str
    outlook: Outlook
    why: str
    rung_step: int | None
    """The step of the rung that it is on its way to, or waits at; None: the end, whose step nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Where a sweep stands."""

    definition: Definition
    condition: Condition
    reason: str | None
    """Why it has ended or stops."""
    rungs: list[RungRow]
    trials: list[TrialRow]
    """By number."""
    outlooks: Mapping[str, int]
    """How many trials there are of each outlook."""
    run_cap: int | None
    best: Trial | None
    """The best trial so far."""
    workers: list[Worker]
    """Those that are there."""
    workers_gone: int
    spent: float
    """US dollars, all hours of all workers."""
    hours: float
    """Of the clock, in which the sweep had a worker."""
    machine_hours: float
    """Of all workers together."""
    max_cost: float | None
    max_hours: float | None
    forecast: float | None
    """How many times what was trained so far the whole sweep will be; None: nobody knows, or it is over."""
    known: int
    """Results from outside of the sweep."""
    number: int
    """The journal's newest entry."""


def make_overview(definition: Definition, state: SweepState, *, now: datetime) -> Overview:
    """Compute where a sweep stands."""
    controller = Controller(definition)
    verdicts = Verdicts(definition, state, controller)
    steps = _steps(definition)
    rows = []
    for number in sorted(state.trials):
        trial = state.trials[number]
        verdict = verdicts.of(trial)
        rows.append(
            TrialRow(
                trial=trial,
                run_id=trial_run_id(definition.sweep_id, number),
                outlook=verdict.outlook,
                why=verdict.why,
                rung_step=steps[trial.rung],
            )
        )
    workers = [worker for worker in state.workers.values() if worker.left_at is None]
    condition, reason = _condition(state, bool(workers))
    return Overview(
        definition=definition,
        condition=condition,
        reason=reason,
        rungs=_rungs(definition, state, rows),
        trials=rows,
        outlooks=Counter(row.outlook for row in rows),
        run_cap=controller.draws.run_cap(state),
        best=next(iter(state.best()), None),
        workers=workers,
        workers_gone=len(state.workers) - len(workers),
        spent=state.spent(now),
        hours=state.hours(now),
        machine_hours=state.machine_hours(now),
        max_cost=limit(definition, state, "max_cost"),
        max_hours=limit(definition, state, "max_hours"),
        forecast=None if state.ended is not None else _forecast(definition, state, controller),
        known=len(state.known),
        number=state.number,
    )


def leaderboard(overview: Overview) -> list[TrialRow]:
    """Return trials in the order of `SweepState.best`: the finished, then those that got furthest, then the others."""
    sign = overview.definition.sign

    def order(row: TrialRow) -> tuple[Any, ...]:
        trial = row.trial
        value = trial.scores[max(trial.scores)] if trial.scores else None
        score = WORST if value is None else sign * value
        failed = trial.state == "failed" or (bool(trial.scores) and score >= WORST)
        return failed, trial.state != "finished", -max(trial.scores, default=-1), score, trial.number

    return sorted(overview.trials, key=order)


def pick_rows(rows: list[TrialRow], *, best: int, most: int) -> list[TrialRow]:
    """Return the first of a leaderboard and all that train now, in its order.

    Args:
        rows: the leaderboard.
        best: how many from its beginning.
        most: rows in all.
    """
    return [row for index, row in enumerate(rows) if index < best or row.outlook == "running"][:most]


def _steps(definition: Definition) -> list[int | None]:
    return [*definition.rungs, definition.max_steps]


def _condition(state: SweepState, has_workers: bool) -> tuple[Condition, str | None]:
    if state.ended is not None:
        condition, reason = state.ended
        assert condition in ("succeeded", "failed", "stopped")
        return condition, reason  # type: ignore[return-value]
    if state.stop is not None:
        return "stopping" if has_workers or state.running else "stopped", state.stop
    return ("running" if has_workers else "waiting for workers"), None


def _rungs(definition: Definition, state: SweepState, rows: list[TrialRow]) -> list[RungRow]:
    steps = _steps(definition)
    outlooks: Counter[tuple[int, int, str]] = Counter()
    for row in rows:
        trial = row.trial
        kind = row.outlook if trial.state != "paused" or row.outlook == "stopped" else "waits"
        outlooks[trial.bracket, trial.rung, kind] += 1
    table = []
    for bracket in sorted({0, *state.entered}):
        for number, step in enumerate(steps):
            rung = state.board.get((bracket, number))
            ranked = rung.ranked if rung is not None else []
            heading = outlooks[bracket, number, "running"] + outlooks[bracket, number, "ready"]
            failed = state.lost.get((bracket, number), 0)
            if bracket and not (ranked or heading or failed) and number < min(_firsts(state, bracket), default=0):
                continue
            best = ranked[0] if ranked and ranked[0][0] < WORST else None
            table.append(
                RungRow(
                    bracket=bracket,
                    rung=number,
                    step=step,
                    is_last=number == len(steps) - 1,
                    heading=heading,
                    reached=len(ranked),
                    promoted=len(rung.promoted) if rung is not None else 0,
                    waiting=outlooks[bracket, number, "waits"],
                    stopped=outlooks[bracket, number, "stopped"],
                    failed=failed,
                    best=None if best is None else best[1],
                    value=None if best is None else best[0] * definition.sign,
                )
            )
    return table


def _firsts(state: SweepState, bracket: int) -> list[int]:
    """The lowest rung that any trial of a bracket has been at."""
    return [min(trial.scores, default=trial.rung) for trial in state.trials.values() if trial.bracket == bracket]


def _forecast(definition: Definition, state: SweepState, controller: Controller) -> float | None:
    """Return how many times the steps so far all steps are, if every trial trains as planned."""
    cap = controller.draws.run_cap(state)
    done = sum(trial.step for trial in state.trials.values())
    planned = None if cap is None else total_steps(forecast(definition, cap))
    return max(1.0, planned / done) if planned and done else None
