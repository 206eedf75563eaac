"""All that is alive as a table with a curve of each run, for `runner top`. Pure: no store, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from runner.reports.drawing.sparkline import common_scale, sparkline
from runner.reports.tables import Column, duration, fitting_table, number
from runner.runs.measured.recent import Details
from runner.runs.measured.spending import in_dollars
from runner.runs.status import RunStatus
from runner.sweeps.views.overview import Overview

_CURVE = 12
"""Characters of a learning curve."""


@dataclass(frozen=True, kw_only=True)
class WatchedRun:
    """A run, with all that is shown of it."""

    status: RunStatus
    """Where it stands."""
    details: Details = field(default_factory=Details)
    """What it has learned and used of late."""

    @property
    def forecast(self) -> float | None:
        """What the run will have cost at its end, in US dollars; None: unknown."""
        status = self.status
        if status.cost is None or status.cost_per_hour is None or status.eta_seconds is None:
            return None
        return status.cost + status.cost_per_hour * status.eta_seconds / 3600


@dataclass(frozen=True, kw_only=True)
class WatchedSweep:
    """A sweep, with its trials that train now."""

    overview: Overview
    """Where it stands."""
    trials: Sequence[WatchedRun]
    """Those that train now, by their numbers."""


@dataclass(frozen=True, kw_only=True)
class Alive:
    """What is alive in a store at one moment."""

    runs: Sequence[WatchedRun]
    """Runs that are no trials, the newest first; those that have ended since the first look stay."""
    sweeps: Sequence[WatchedSweep]
    """Sweeps with workers, the newest first."""
    asleep: int
    """Runs that are interrupted or pending, and that nothing works on: they are not among `runs`."""
    damaged: Mapping[str, str]
    """What is wrong with runs and sweeps that cannot be read, by id."""


class Subject(NamedTuple):
    """A run or a sweep that keys can do something to."""

    name: str
    """Its id."""
    is_sweep: bool = False
    """Whether it is a sweep."""


@dataclass(frozen=True, kw_only=True)
class TopLine:
    """A line of the table."""

    text: str
    """What is shown."""
    subject: Subject | None = None
    """The run or sweep that it is about; None: a title or a remark."""


def top_lines(alive: Alive, *, now: datetime, width: int | None, plain: bool = False) -> list[TopLine]:
    """Return the table of all that is alive, a title first, then remarks on runs; empty if nothing is alive.

    Args:
        alive: what is shown.
        now: the time, for ages.
        width: characters of a line, which none exceeds; None: no limit.
        plain: whether only ASCII may be used.
    """
    rows: list[WatchedRun | WatchedSweep] = list(alive.runs)
    for sweep in alive.sweeps:
        rows += [sweep, *sweep.trials]
    if not rows:
        return []
    text = fitting_table(_columns(rows, now, width, plain), width).split("\n")
    lines = [TopLine(text=text[0])]
    for row, line in zip(rows, text[1:], strict=True):
        lines.append(TopLine(text=line, subject=_subject(row)))
    remarks = [
        f"{row.status.run_id}: {remark}" for row in rows if isinstance(row, WatchedRun) for remark in _remarks(row)
    ]
    if remarks:
        lines += [TopLine(text=""), *(TopLine(text=remark) for remark in remarks)]
    return [TopLine(text=cut(line.text, width, plain=plain), subject=line.subject) for line in lines]


def run_facts(run: WatchedRun, *, now: datetime) -> dict[str, Any]:
    """Return what `top --json` says of a run beyond what `ps --json` does."""
    return {
        "eta_seconds": run.status.eta_seconds,
        "forecast": run.forecast,
        "checkpoint_age_seconds": _checkpoint_age(run, now),
        "system": dict(run.details.system) if _has_machine(run) and run.details.system else None,
    }


def cut(text: str, width: int | None, *, plain: bool = False) -> str:
    """Return text of at most `width` characters: its end is left out."""
    if width is None or len(text) <= width:
        return text
    return text[: max(0, width - 1)] + ("~" if plain else "…")


def _columns(rows: Sequence[WatchedRun | WatchedSweep], now: datetime, width: int | None, plain: bool) -> list[Column]:
    columns: list[Column] = []

    def column(title: str, cells: Sequence[str], *, right: bool = True) -> None:
        if any(cell not in ("-", "") for cell in cells):
            columns.append(Column(title=title, cells=cells, right=right, optional=bool(columns[1:])))

    def of_runs(title: str, cell: Any, *, right: bool = True) -> None:
        column(title, [cell(row) if isinstance(row, WatchedRun) else "" for row in rows], right=right)

    trials = {trial.status.run_id for row in rows if isinstance(row, WatchedSweep) for trial in row.trials}
    longest = None if width is None else max(20, width // 2 - 10)
    column("RUN", [_shortened(_name(row, trials), longest, plain) for row in rows], right=False)
    column("STATE", [cut(_state(row), longest and longest // 2 + 2, plain=plain) for row in rows], right=False)
    of_runs("STEP", lambda run: _step(run.status))
    of_runs("LOSS", lambda run: number(run.status.loss))
    of_runs("CURVE", lambda run: _curve(run, plain), right=False)
    of_runs("ETA", lambda run: duration(run.status.eta_seconds))
    of_runs("GPU", _gpu_use)
    of_runs("GPU GIB", _gpu_memory)
    of_runs("TOKENS/S", lambda run: number(run.status.tokens_per_second and round(run.status.tokens_per_second)))
    of_runs("SAVED", lambda run: duration(_checkpoint_age(run, now)))
    column(
        "COST",
        [_dollars(row.status.cost if isinstance(row, WatchedRun) else row.overview.spent or None) for row in rows],
    )
    of_runs("FORECAST", lambda run: _dollars(run.forecast))
    of_runs("ATTEMPTS", lambda run: str(run.status.attempts))
    return columns


def _subject(row: WatchedRun | WatchedSweep) -> Subject:
    if isinstance(row, WatchedSweep):
        return Subject(row.overview.definition.sweep_id, is_sweep=True)
    return Subject(row.status.run_id)


def _name(row: WatchedRun | WatchedSweep, trials: set[str]) -> str:
    if isinstance(row, WatchedSweep):
        return row.overview.definition.sweep_id
    run_id = row.status.run_id
    return f"  trial {int(run_id.rpartition('-')[2])}" if run_id in trials else run_id


def _shortened(name: str, width: int | None, plain: bool) -> str:
    """Leave out the middle of a name that is too long: names are told apart by their ends."""
    if width is None or len(name) <= width:
        return name
    tail = (width - 1) // 2
    return name[: width - 1 - tail] + ("~" if plain else "…") + name[len(name) - tail :]


def _state(row: WatchedRun | WatchedSweep) -> str:
    if isinstance(row, WatchedSweep):
        return row.overview.condition
    status = row.status
    return (status.phase or "running") if status.state == "running" else status.shown_state


def _step(status: RunStatus) -> str:
    if status.step is None and status.max_steps is None:
        return "-"
    stage = f"{status.stage_number}/{status.stage_count} {status.stage} " if status.stage else ""
    return f"{stage}{'-' if status.step is None else status.step}/{status.max_steps or '-'}"


def _curve(run: WatchedRun, plain: bool) -> str:
    """Draw the loss from the first step that is known: all of the width is what was trained so far."""
    losses = [(step - run.details.losses[0][0], loss) for step, loss in run.details.losses]
    scale = common_scale([losses])
    return "-" if scale is None else sparkline(losses, scale, _CURVE, plain=plain)


def _has_machine(run: WatchedRun) -> bool:
    return run.status.state == "running"


def _gpus(run: WatchedRun, name: str) -> list[float]:
    """Return a value of each of the head's GPUs that has it."""
    if not _has_machine(run) or not run.details.system:
        return []
    gpus = run.details.system.get("gpus")
    values = [gpu.get(name) for gpu in gpus if isinstance(gpu, Mapping)] if isinstance(gpus, list) else []
    return [float(value) for value in values if isinstance(value, int | float)]


def _gpu_use(run: WatchedRun) -> str:
    """Return the mean of the GPUs, and how many there are."""
    values = _gpus(run, "utilization_percent")
    if not values:
        return "-"
    mean = f"{sum(values) / len(values):.0f}%"
    return mean if len(values) == 1 else f"{len(values)}x {mean}"


def _gpu_memory(run: WatchedRun) -> str:
    """Return what is taken on the GPU that has the least left, and what it has."""
    taken, total = _gpus(run, "memory_gib"), _gpus(run, "memory_total_gib")
    if not taken:
        return "-"
    return f"{max(taken):.1f}/{max(total):.0f}" if total else f"{max(taken):.1f}"


def _checkpoint_age(run: WatchedRun, now: datetime) -> float | None:
    saved = run.details.checkpoint_at
    return None if saved is None else max(0.0, (now - saved).total_seconds())


def _dollars(value: float | None) -> str:
    return "-" if value is None else in_dollars(value)


def _remarks(run: WatchedRun) -> list[str]:
    """Return what is to be known of a run besides its numbers."""
    status = run.status
    said = [status.stalled, status.message] if status.state == "running" else [status.reason]
    return [text for text in said if text]
