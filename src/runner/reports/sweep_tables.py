"""A sweep for people: its rungs, its trials, what it has cost, and its results as rows."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from runner.reports.tables import Column, duration, fitting_table, number
from runner.sweeps.definition import Definition
from runner.sweeps.views.overview import Overview, RungRow, TrialRow
from runner.terminal import printable

SHOWN = 20
"""Trials that a terminal is shown unless it asks for all."""

_LONGEST_VALUE = 40


def heading(overview: Overview) -> str:
    """Return the first line: the sweep, and its state with why."""
    reason = f": {printable(overview.reason)}" if overview.reason else ""
    return f"{overview.definition.sweep_id} ({overview.definition.metric}, {_goal(overview.definition)}): " + (
        f"{overview.condition}{reason}"
    )


def summary_lines(overview: Overview, *, silence: Mapping[str, float]) -> list[str]:
    """Return the best trial, what was spent and is left, and who works, a line each.

    Args:
        overview: the sweep.
        silence: seconds since the last sign of each worker that is there.
    """
    lines = [_best(overview), _counts(overview), _spent(overview)]
    if overview.forecast is not None:
        lines.append(_forecast(overview))
    lines.append(_workers(overview, silence))
    return [line for line in lines if line]


def rungs_table(overview: Overview, width: int | None) -> str:
    """Return the table of rungs; those of Hyperband's brackets one after the other.

    Args:
        overview: the sweep.
        width: characters of a line; None if everything fits.
    """
    rows = overview.rungs
    columns = [
        Column(title="STEP", cells=[_step(row) for row in rows], right=True),
        Column(title="REACHED", cells=[str(row.reached) for row in rows], right=True),
        Column(title="WENT ON", cells=["-" if row.is_last else str(row.promoted) for row in rows], right=True),
        Column(title="WAIT", cells=["-" if row.is_last else str(row.waiting) for row in rows], right=True),
        Column(title="STOPPED", cells=["-" if row.is_last else str(row.stopped) for row in rows], right=True),
        Column(title="FAILED", cells=[str(row.failed) for row in rows], right=True, optional=True),
        Column(title="UNDER WAY", cells=[str(row.heading) for row in rows], right=True, optional=True),
        Column(title="BEST", cells=[number(row.value) for row in rows], right=True, optional=True),
        Column(title="TRIAL", cells=[number(row.best) for row in rows], right=True, optional=True),
    ]
    if any(row.bracket for row in rows):
        columns.insert(0, Column(title="BRACKET", cells=[str(row.bracket) for row in rows], right=True))
    return fitting_table(columns, width)


def trials_table(
    overview: Overview, rows: Sequence[TrialRow], width: int | None, *, steps: Mapping[int, int | None]
) -> str:
    """Return the table of trials. What does not fit is left out: first parameters, which `best` and `results` show.

    Args:
        overview: the sweep.
        rows: the trials to show; at least one.
        width: characters of a line; None if everything fits.
        steps: the newest step of trials that train now, where it is known.
    """
    columns = [
        Column(title="TRIAL", cells=[str(row.trial.number) for row in rows], right=True),
        Column(title="STATE", cells=[row.outlook for row in rows]),
        Column(title="STEP", cells=[_progress(row, steps) for row in rows], right=True),
        Column(title=printable(overview.definition.metric).upper(), cells=[_value(row) for row in rows], right=True),
    ]
    left = None if width is None else width - sum(2 + max(map(len, (it.title, *it.cells))) for it in columns)
    whys = [printable(row.why) for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row.trial.values))
    parameters = [
        Column(
            title=printable(short_name(name, names)),
            cells=[short_value(row.trial.values.get(name)) for row in rows],
            right=True,
            optional=True,
        )
        for name in names
    ]
    if left is not None:
        whys = [_cut(why, max(left, 20)) for why in whys]
        room = left - 2 - max(map(len, ("WHY", *whys)))
        parameters = _fitting(parameters, room)
    return fitting_table([*columns, *parameters, Column(title="WHY", cells=whys)], None)


def trial_line(trial_values: Mapping[str, Any]) -> str:
    """Return a trial's parameters in one line."""
    return ", ".join(f"{printable(name)} {short_value(value)}" for name, value in trial_values.items())


# -- results -------------------------------------------------------------------------------------------------------


def result_columns(definition: Definition, rows: Iterable[TrialRow]) -> tuple[list[str], dict[str, int]]:
    """Return the names of the parameters, and the columns of the metric with the rung that each is of."""
    parameters = list(dict.fromkeys(name for row in rows for name in row.trial.values))
    rungs = {f"{definition.metric}@{step}": number for number, step in enumerate(definition.rungs)}
    last = definition.max_steps or "end"
    return parameters, {**rungs, f"{definition.metric}@{last}": len(definition.rungs)}


def result_rows(definition: Definition, rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """Return each trial as a flat row: its parameters, its state, its metric at each rung, what it took.

    A parameter whose name is also that of another column keeps it with ``parameters.`` before it.
    """
    parameters, rungs = result_columns(definition, rows)
    others = {"trial", "run_id", "state", "rung", "step", "seconds", "dollars", "why", definition.metric, *rungs}
    titles = {name: f"parameters.{name}" if name in others else name for name in parameters}
    table = []
    for row in rows:
        trial = row.trial
        table.append(
            {"trial": trial.number, "run_id": row.run_id, "state": row.outlook}
            | {titles[name]: trial.values.get(name) for name in parameters}
            | {"rung": trial.rung, "step": trial.step, definition.metric: newest_value(row)}
            | {title: trial.scores.get(rung) for title, rung in rungs.items()}
            | {"seconds": round(trial.seconds, 3), "dollars": round(trial.cost, 6), "why": row.why}
        )
    return table


def write_results_csv(rows: Sequence[Mapping[str, Any]], file: TextIO) -> None:
    """Write rows as CSV; a parameter that is a list or a mapping is written in JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(value) for name, value in row.items()})


def results_table(rows: Sequence[Mapping[str, Any]], width: int | None) -> str:
    """Return rows as a table, without the columns that have no value; at least one row is given."""
    names = [name for name in rows[0] if name != "why" and any(row[name] is not None for row in rows)]
    must = {"trial", "state", "step"}
    columns = [
        Column(
            title=printable(short_name(name, names)),
            cells=[short_value(row[name]) if name != "run_id" else str(row[name]) for row in rows],
            right=name not in ("run_id", "state"),
            optional=name not in must,
        )
        for name in names
        if name != "run_id"
    ]
    columns.append(Column(title="run_id", cells=[str(row["run_id"]) for row in rows], optional=True))
    return fitting_table(columns, width)


def newest_value(row: TrialRow) -> float | None:
    """The metric at the highest rung that a trial has reached."""
    return row.trial.scores[max(row.trial.scores)] if row.trial.scores else None


# -- inside --------------------------------------------------------------------------------------------------------


def _goal(definition: Definition) -> str:
    return "less is better" if definition.goal == "minimize" else "more is better"


def _best(overview: Overview) -> str:
    trial = overview.best
    if trial is None:
        return ""
    last = len(overview.definition.rungs)
    at = f" at step {trial.step}" if trial.step else ""
    rung = max(trial.scores, default=0)
    paused = "" if rung >= last or trial.state == "finished" else ", not trained to its end"
    value = number(trial.scores.get(rung, trial.value), 6)
    metric = printable(overview.definition.metric)
    return f"best so far: trial {trial.number}, {metric} {value}{at}{paused}: {trial_line(trial.values)}"


def _counts(overview: Overview) -> str:
    cap = f" of {overview.run_cap}" if overview.run_cap is not None else ""
    order = ("running", "ready", "waits", "stopped", "finished", "failed")
    words = {"waits": "waiting"}
    parts = [f"{overview.outlooks[name]} {words.get(name, name)}" for name in order if overview.outlooks.get(name)]
    known = f", and {overview.known} known from before" if overview.known else ""
    return f"trials: {len(overview.trials)}{cap}" + (f" ({', '.join(parts)})" if parts else "") + known


def _spent(overview: Overview) -> str:
    priced = overview.spent > 0 or overview.max_cost is not None
    parts = []
    if priced:
        cap = f" of ${overview.max_cost:.2f}" if overview.max_cost is not None else ""
        left = "" if overview.max_cost is None else f" (${max(0.0, overview.max_cost - overview.spent):.2f} left)"
        parts.append(f"${overview.spent:.2f}{cap}{left}")
    hours = duration(overview.hours * 3600)
    if overview.max_hours is not None:
        rest = duration(max(0.0, overview.max_hours - overview.hours) * 3600)
        hours = f"{hours} of {duration(overview.max_hours * 3600)} ({rest} left)"
    parts += [hours, f"{duration(overview.machine_hours * 3600)} of machines"]
    return f"spent: {', '.join(parts)}"


def _forecast(overview: Overview) -> str:
    assert overview.forecast is not None
    hours = duration(overview.machine_hours * overview.forecast * 3600)
    cost = f"about ${overview.spent * overview.forecast:.2f} and " if overview.spent > 0 else "about "
    return f"forecast: {cost}{hours} of machines for the whole sweep, if it goes on as so far"


def _workers(overview: Overview, silence: Mapping[str, float]) -> str:
    if not overview.workers:
        return f"workers: none ({overview.workers_gone} have left)" if overview.workers_gone else "workers: none yet"
    kinds: dict[str, int] = {}
    for worker in overview.workers:
        price = f" at ${worker.dollars_per_hour:.2f}/h" if worker.dollars_per_hour else ""
        kind = f"{printable(worker.accelerator or worker.host or 'a machine')}{price}"
        kinds[kind] = kinds.get(kind, 0) + 1
    shown = ", ".join(f"{count} on {kind}" for kind, count in sorted(kinds.items()))
    gone = f"; {overview.workers_gone} have left" if overview.workers_gone else ""
    quiet = [f"{printable(name)} {duration(seconds)}" for name, seconds in sorted(silence.items()) if seconds > 120]
    silent = f"; no sign of {', '.join(quiet[:3])}{' and others' if len(quiet) > 3 else ''}" if quiet else ""
    return f"workers: {len(overview.workers)} ({shown}){gone}{silent}"


def _step(row: RungRow) -> str:
    return "end" if row.step is None else str(row.step)


def _progress(row: TrialRow, steps: Mapping[int, int | None]) -> str:
    step = steps.get(row.trial.number)
    step = row.trial.step if step is None else max(step, row.trial.step)
    if row.outlook in ("running", "ready") and row.trial.state != "paused":
        return f"{step}/{'-' if row.rung_step is None else row.rung_step}"
    return str(step)


def _value(row: TrialRow) -> str:
    return number(newest_value(row), 5)


def short_value(value: object) -> str:
    """Return a drawn value as people read it, cut where it is long."""
    if isinstance(value, dict | list):
        return _cut(printable(json.dumps(value)), _LONGEST_VALUE)
    return _cut(printable(number(value)), _LONGEST_VALUE)


def short_name(name: str, names: Sequence[str]) -> str:
    """Return the last part of a dotted name, if no other of `names` has the same; else all of it."""
    last = name.rpartition(".")[2]
    return last if last and sum(other.rpartition(".")[2] == last for other in names) == 1 else name


def _plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _fitting(columns: Sequence[Column], room: int) -> list[Column]:
    fitting = []
    for column in columns:
        width = 2 + max(map(len, (column.title, *column.cells)))
        if width <= room:
            fitting.append(column)
            room -= width
    return fitting
