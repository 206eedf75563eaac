"""When a sweep stops, and when it is over. Pure: no store, no clock."""

from datetime import datetime
from typing import Literal

from runner.sweeps.definition import Definition
from runner.sweeps.events import Ended
from runner.sweeps.members import WORST
from runner.sweeps.state import SweepState

MOST_FAILURES_IN_A_ROW = 10
"""Failures one after the other with one cause that end a sweep."""


def limit(definition: Definition, state: SweepState, name: Literal["max_cost", "max_hours"]) -> float | None:
    """The budget as it is now."""
    return state.limits[name] if name in state.limits else getattr(definition, name)


def reason_to_stop(definition: Definition, state: SweepState, *, now: datetime) -> str | None:
    """Why no more may be trained; None: the sweep goes on."""
    max_cost, max_hours = limit(definition, state, "max_cost"), limit(definition, state, "max_hours")
    if max_cost is not None and (spent := state.spent(now)) >= max_cost:
        return f"the budget is spent: ${spent:.2f} of ${max_cost:.2f}"
    if max_hours is not None and (hours := state.hours(now)) >= max_hours:
        return f"the time is up: {hours:.2f} of {max_hours:g} hours"
    if state.failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
        return f"{state.failures_in_a_row} failures in a row with one cause: {state.last_reason}"
    return None


def end_by_target(definition: Definition, state: SweepState) -> Ended | None:
    """The end, if a finished trial is at least as good as the target."""
    target = definition.target
    if target is None or not state.finished:
        return None
    score, trial = state.finished[0]
    if score > definition.sign * target:
        return None
    name = definition.metric
    reason = f"trial {trial} reached the target: {name} {state.trials[trial].value:g} (target {target:g})"
    return {"event": "ended", "state": "succeeded", "reason": reason}


def end_by_exhaustion(definition: Definition, state: SweepState) -> Ended:
    """The end, when nothing runs and nothing is left to train."""
    good = [number for score, number in state.finished if score < WORST]
    if not good:
        failed = [trial for trial in state.trials.values() if trial.failure is not None]
        why = f"; trial {failed[-1].number}: {failed[-1].failure}" if failed else ""
        reason = f"no trial of {len(state.trials)} was trained to its end with a {definition.metric}{why}"
        return {"event": "ended", "state": "failed", "reason": reason}
    best = state.trials[good[0]]
    reason = f"all trials are done: trial {best.number} is the best, {definition.metric} {best.value:g}"
    return {"event": "ended", "state": "succeeded", "reason": reason}
