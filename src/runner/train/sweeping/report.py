"""What became of a trial in an attempt: read from the trial's run, and told to the sweep as events."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.errors import UserError
from runner.recipe.suggestions import closest
from runner.runs.attempts import newest_number, read_ended
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.metrics import read_metrics
from runner.runs.record_types.attempt import AttemptEnded
from runner.runs.record_types.result import MetricRecord, Result
from runner.runs.records import run_document, run_result
from runner.storage.store import Store
from runner.sweeps.controller import Controller
from runner.sweeps.definition import Goal
from runner.sweeps.events import Event, FailureKind
from runner.sweeps.state import SweepState

_NAMES_SHOWN = 12
_NO_METRICS = ("kind", "stage", "step", "phase", "time", "epoch", "not_finite", "generations")

EventsOf = Callable[[SweepState], Sequence[Event]]
"""Makes the events of a report from the newest state; none if the trial is somebody else's by now."""


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """How a worker's time with a trial ended."""

    kind: Literal["reached", "finished", "failed", "released"]
    step: int | None = None
    """The step of the rung, or of the newest checkpoint."""
    value: float | None = None
    """The metric's value, if it is a number."""
    best: float | None = None
    """Its best value until a rung."""
    failure: FailureKind = "error"
    reason: str = ""
    stopped: bool = False
    """Whether the sweep itself asked for the pause."""

    def events(self, controller: Controller, trial: int, worker: str, *, seconds: float) -> EventsOf:
        """Return what makes the events of it."""

        def of(state: SweepState) -> Sequence[Event]:
            common: dict[str, Any] = {"step": self.step, "seconds": seconds}
            match self.kind:
                case "reached":
                    assert self.step is not None
                    return controller.reached(state, trial, worker, value=self.value, best=self.best, **common)
                case "finished":
                    return controller.finished(state, trial, worker, value=self.value, **common)
                case "failed":
                    return controller.failed(state, trial, worker, kind=self.failure, reason=self.reason, **common)
            return controller.released(state, trial, worker, reason=self.reason, stopped=self.stopped, **common)

        return of


def find_end(store: Store, run_id: str, *, metric: str, goal: Goal, until: int | None, told: str | None) -> TrialEnd:
    """Find out how an attempt at a trial ended.

    Args:
        store: where the trial's run lives.
        run_id: the run.
        metric: the sweep's metric.
        goal: whether less of it is better, or more.
        until: the step that the trial was to pause after; None: its end.
        told: why the sweep had this worker pause the trial; None: it did not.

    Raises:
        Damaged: a record of the run cannot be trusted.
    """
    result = run_result(store, run_id)
    if result is not None and result["state"] == "succeeded":
        return _finished(store, run_id, metric, result)
    ended = _newest_end(store, run_id)
    step = _newest_step(store, run_id)
    if result is not None:
        reason = one_line(result.get("reason") or "it failed")
        if result["state"] == "cancelled":
            return TrialEnd(kind="failed", step=step, failure="mistake", reason=f"cancelled: {reason}")
        return TrialEnd(kind="failed", step=step, failure=_failure(ended), reason=reason)
    if ended is not None and ended.get("paused") and until is not None:
        records = read_metrics(store, run_id)
        value, missing = value_at(records, metric, until)
        if missing is not None:
            return TrialEnd(kind="failed", step=step, failure="mistake", reason=missing)
        return TrialEnd(kind="reached", step=until, value=value, best=best_until(records, metric, until, goal))
    reason = one_line((ended.get("reason") if ended is not None else None) or "it ended without a word")
    if told is not None:
        return TrialEnd(kind="released", step=step, reason=told, stopped=True)
    if ended is not None and not ended["retry"] and ended["outcome"] == "interrupted":
        return TrialEnd(kind="failed", step=step, failure="error", reason=reason)
    return TrialEnd(kind="released", step=step, reason=reason)


def value_at(records: Sequence[MetricRecord], metric: str, step: int) -> tuple[float | None, str | None]:
    """Return a metric's value at a step, and what is wrong if no record there has the metric at all.

    A value that is no number is recorded as null, and None here: it is there, and the worst there is.
    """
    stage = records[-1]["stage"] if records else None
    at = [record for record in records if record["stage"] == stage and record["step"] == step]
    for record in reversed(at):
        if metric in record:
            return _number(record.get(metric)), None
    return None, no_such_metric(records, metric)


def best_until(records: Sequence[MetricRecord], metric: str, step: int, goal: Goal) -> float | None:
    """Return a metric's best value up to a step of the last stage; None: it never was a number."""
    stage = records[-1]["stage"] if records else None
    found = [_number(record.get(metric)) for record in records if record["stage"] == stage and record["step"] <= step]
    values = [value for value in found if value is not None and math.isfinite(value)]
    return (min if goal == "minimize" else max)(values, default=None)


def no_such_metric(records: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Say that no record has a metric, and which there are."""
    names = sorted({name for record in records for name in record if name not in _NO_METRICS})
    near = closest(metric, names)
    meant = f"did you mean {near!r}? " if near and near != metric else ""
    shown = ", ".join(names[:_NAMES_SHOWN])
    if not names:
        return f"the trial has recorded no {metric!r}"
    return f"the trial has no {metric!r}: {meant}there are {shown}"


def one_line(text: str) -> str:
    """A reason in one line that a record can hold."""
    line = re.sub(r"\s+", " ", text).strip()
    printable = "".join(character if character.isprintable() else " " for character in line)
    return printable if len(printable) <= 500 else f"{printable[:500]}…"


def mistake(error: UserError) -> TrialEnd:
    """The end of a trial whose recipe is not valid with its values."""
    return TrialEnd(kind="failed", failure="mistake", reason=one_line(str(error)))


def _finished(store: Store, run_id: str, metric: str, result: Result) -> TrialEnd:
    """The end of a trial that was trained to its end: the value is that of the model that is kept."""
    step, best = result.get("step"), result.get("best")
    if best is not None and best.get("metric") in (metric, f"eval_{metric}") and _keeps_best(store, run_id):
        return TrialEnd(kind="finished", step=step, value=_number(best["value"]))
    records = read_metrics(store, run_id)
    stage = records[-1]["stage"] if records else None
    having = [record for record in records if record["stage"] == stage and metric in record]
    if having:
        return TrialEnd(kind="finished", step=step, value=_number(having[-1].get(metric)))
    return TrialEnd(kind="failed", step=step, failure="mistake", reason=no_such_metric(records, metric))


def _keeps_best(store: Store, run_id: str) -> bool:
    """Whether the model that the run keeps is that of its best evaluation."""
    recipe = run_document(store, run_id)["recipe"]
    stages = recipe.get("stages") or []
    last = stages[-1] if stages else recipe
    return bool(last.get("training", {}).get("load_best_model_at_end"))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _newest_end(store: Store, run_id: str) -> AttemptEnded | None:
    number = newest_number(store, run_id)
    return read_ended(store, run_id, number) if number else None


def _newest_step(store: Store, run_id: str) -> int | None:
    names = checkpoints(store, run_id)
    return names[0].step if names else None


def _failure(ended: AttemptEnded | None) -> FailureKind:
    cause = None if ended is None else ended.get("cause")
    if cause == "diverged":
        return "diverged"
    if cause == "out_of_memory":
        return "out_of_memory"
    return "mistake" if ended is not None and ended["exit_code"] == 2 else "error"
