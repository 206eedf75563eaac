"""Sections of the report of a sweep: where it stands, rungs, trials with why each stopped, and what it saved."""

from runner.reports.html.markup import Cell, Content, filter_of, table, tag
from runner.reports.html.run_sections import section
from runner.reports.sweep_tables import newest_value, short_name, short_value, summary_lines
from runner.reports.tables import duration, number
from runner.runs.measured.spending import in_dollars
from runner.sweeps.views.importance import finite
from runner.sweeps.views.overview import Overview

_HOUR = 3600.0
_COLUMNS = ("trial", "state", "step", "time", "cost", "why")
"""Of the table of trials, besides the metric and the parameters."""


def standing(overview: Overview) -> Content:
    """The best trial, how many there are, and what was spent."""
    return section("The sweep", [tag("p", line) for line in summary_lines(overview, silence={})])


def rungs(overview: Overview) -> Content:
    """How many trials came to each rung, and what became of them."""
    if len(overview.rungs) < 2:
        return None
    headers = ["step", "reached", "went on", "wait", "stopped", "failed", "under way", "best", "trial"]
    brackets = any(row.bracket for row in overview.rungs)
    cells = []
    for row in overview.rungs:
        step = "end" if row.step is None else str(row.step)
        moved = ["-"] * 3 if row.is_last else [str(count) for count in (row.promoted, row.waiting, row.stopped)]
        counts = [str(row.reached), *moved, str(row.failed), str(row.heading), number(row.value), number(row.best)]
        cells.append([f"{step}, bracket {row.bracket}" if brackets else step, *counts])
    shown = table("Trials by the step that they came to", headers, cells, right=range(1, len(headers)))
    return section("Rungs", shown)


def trials(overview: Overview) -> Content:
    """Every trial, the best first: what was drawn, what came of it, and why it stopped where it did."""
    if not overview.trials:
        return None
    names = list(dict.fromkeys(name for row in overview.trials for name in row.trial.values))
    metric = overview.definition.metric
    titles = [short_name(name, [*names, *_COLUMNS, metric]) for name in names]
    headers = [*_COLUMNS[:3], metric, *titles, *_COLUMNS[3:]]
    cells: list[list[Content | Cell]] = [
        [
            str(row.trial.number),
            row.outlook,
            str(row.trial.step),
            Cell(content=number(newest_value(row), 5), sort=finite(newest_value(row))),
            *(
                Cell(content=short_value(row.trial.values.get(name)), sort=finite(row.trial.values.get(name)))
                for name in names
            ),
            Cell(content=duration(row.trial.seconds), sort=row.trial.seconds),
            Cell(content=in_dollars(row.trial.cost), sort=row.trial.cost) if row.trial.cost else "-",
            row.why,
        ]
        for row in overview.trials
    ]
    right = [2, 3, *range(4, len(headers) - 1)]
    numbers = [{"data_trial": str(row.trial.number)} for row in overview.trials]
    title, identity = "Every trial, the best first", "trials"
    shown = table(title, headers, cells, right=right, sortable=True, identity=identity, attributes=numbers)
    best = newest_value(overview.trials[0])
    compared = "<" if overview.definition.sign > 0 else ">"
    hint = f"{metric}{compared}{number(finite(best) or 1.0, 3)} finished"
    region = tag("div", shown, class_="wide tall", tabindex="0", role="region", aria_label=title)
    return section("Trials", filter_of(identity, hint), region)


def savings(overview: Overview) -> Content:
    """What the sweep trained beside what it would have been to train every trial to its end."""
    definition = overview.definition
    steps = sum(row.trial.step for row in overview.trials)
    last = len(definition.rungs)
    ends = [row.trial.step for row in overview.trials if last in row.trial.scores]
    end = definition.max_steps or max(ends, default=0)
    if not steps or not end:
        return None
    count = len(overview.trials)
    factor = count * end / steps
    dollars = overview.spent
    cells = [
        ("trials", str(count), str(count)),
        ("trained to their end", str(len(ends)), str(count)),
        ("steps", f"{steps:,}", f"{count * end:,}"),
        ("machine time", _hours(overview.machine_hours), f"about {_hours(overview.machine_hours * factor)}"),
    ]
    if dollars:
        cells.append(("cost", in_dollars(dollars), f"about {in_dollars(dollars * factor)}"))
    headers = ["", "this sweep", "every trial to its end"]
    said = "The right column has the same trials without rungs, at what a step of this sweep took and cost."
    shown = table("What was trained, and what a plain grid of the same trials would be", headers, cells, right=(1, 2))
    return section("Beside the plain grid", tag("p", said), shown)


def _hours(hours: float) -> str:
    return duration(hours * _HOUR)
