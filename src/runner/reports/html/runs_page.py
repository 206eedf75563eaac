"""The report of one run or of several, as a page and as a picture: their results, curves, and settings."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner.errors import UserError
from runner.reports.comparison import ComparedRun, Comparison, rows
from runner.reports.html import run_sections, sweep_sections
from runner.reports.html.charts import Chart, Made, figure, specification
from runner.reports.html.details import RunDetails
from runner.reports.html.interaction import brushable, zoomable
from runner.reports.html.markup import Cell, Content, Markup, table, tag
from runner.reports.html.page import page
from runner.reports.html.parallel import parallel_coordinates
from runner.reports.html.picture import picture
from runner.reports.html.run_charts import lengths, run_charts
from runner.reports.html.sweep_charts import best_so_far, importance, way
from runner.reports.sweep_tables import heading
from runner.reports.tables import duration, number
from runner.runs.measured.spending import in_dollars
from runner.sweeps.views.overview import Overview

_MOST_BESIDE = 4
"""Runs whose results stand beside each other, a column for each; of more, each has a row."""
_IN_PICTURE = ("loss", "eval_loss", "reward")
"""The charts of runs that a picture has."""
_INTERACTIONS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "best_so_far": zoomable,
    "parallel": brushable,
    "importance": dict,
    "way": zoomable,
}
"""What a reader can do with each plot of a sweep."""


def runs_page(comparison: Comparison, details: RunDetails | None = None, sweep: Overview | None = None) -> str:
    """Return the page. Curves of many points are thinned, which the page says.

    Args:
        comparison: of the runs.
        details: of the run, if it is a single one.
        sweep: the sweep that the runs are trials of, if the report is of it.
    """
    runs = comparison.runs
    plots: dict[str, Any] = {}
    parts: list[Content] = [_facts(comparison)]
    if sweep is not None:
        parts.append(sweep_sections.standing(sweep))
        for name, (shown, drawn) in _sweep_plots(sweep).items():
            parts.append(shown)
            plots[name] = _INTERACTIONS[name](drawn)
        parts += [sweep_sections.rungs(sweep), sweep_sections.savings(sweep), sweep_sections.trials(sweep)]
        if len(runs) < len(sweep.trials):
            parts.append(tag("p", f"What follows is of {len(runs)} of its {len(sweep.trials)} trials, the best first."))
    for chart in _charts(comparison, details):
        plots[chart.name] = zoomable(specification(chart))
        parts.append(figure(chart))
    if details is not None:
        parts += [run_sections.measurements(details), run_sections.generations(details)]
    parts.append(_results(comparison))
    if details is not None:
        parts += [run_sections.time_and_cost(details), run_sections.data(details)]
        for name, (shown, drawn) in lengths(details):
            parts.append(shown)
            plots[name] = drawn
        parts += [run_sections.settings(details), run_sections.machine(details), run_sections.lineage(details)]
    return page(_title(comparison, sweep), parts, plots)


def runs_picture(
    comparison: Comparison, details: RunDetails | None = None, sweep: Overview | None = None
) -> dict[str, Any]:
    """Return a Vega-Lite specification of what the page shows first: of a sweep its plots, of runs their losses.

    Raises:
        UserError: there is nothing to draw yet.
    """
    plots = {name: drawn for name, (_, drawn) in _sweep_plots(sweep).items()} if sweep is not None else {}
    if not plots:
        charts = list(_charts(comparison, details))
        shown = [chart for chart in charts if chart.name in _IN_PICTURE] or charts[:1]
        plots = {chart.name: specification(chart) for chart in shown}
    if not plots:
        raise UserError("there is nothing to draw yet: no loss was recorded", where=comparison.runs[0].run_id)
    return picture(_title(comparison, sweep), plots)


def _title(comparison: Comparison, sweep: Overview | None) -> str:
    runs = comparison.runs
    if sweep is not None:
        return heading(sweep)
    return f"{runs[0].run_id}: {runs[0].status.shown_state}" if len(runs) == 1 else f"{len(runs)} runs"


def _facts(comparison: Comparison) -> Markup:
    best = next(iter(comparison.ranked), comparison.runs[0])
    facts = [
        (
            "best run" if len(comparison.runs) > 1 else "recipe",
            best.run_id if len(comparison.runs) > 1 else _recipe(best),
        ),
        (comparison.metric, number(best.value(comparison.metric))),
        ("before training", number(best.before.get(comparison.metric))),
        ("took", "-" if best.seconds is None else duration(best.seconds)),
        ("cost", "not known" if best.dollars is None else in_dollars(best.dollars)),
    ]
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts])


def _sweep_plots(sweep: Overview) -> dict[str, Made]:
    """The plots of a sweep that there is something to show in, by name."""
    made = {
        "best_so_far": best_so_far(sweep),
        "parallel": parallel_coordinates(sweep),
        "importance": importance(sweep),
        "way": way(sweep),
    }
    return {name: plot for name, plot in made.items() if plot is not None}


def _charts(comparison: Comparison, details: RunDetails | None) -> Iterator[Chart]:
    if details is not None:
        yield from run_charts(details)
        return
    losses = {run.run_id: run.losses for run in comparison.runs if run.losses}
    eval_losses = {run.run_id: run.eval_losses for run in comparison.runs if run.eval_losses}
    if losses:
        yield Chart(name="loss", label="Training loss", curves=losses)
    if eval_losses:
        yield Chart(name="eval_loss", label="Evaluation loss", curves=eval_losses)


def _recipe(run: ComparedRun) -> str:
    return run.status.recipe


def _results(comparison: Comparison) -> Markup:
    found = [{name: value for name, value in row.items() if name != "digest"} for row in rows(comparison)]
    names = [name for name in found[0] if any(row[name] is not None for row in found)]
    titles = {"seconds": "duration", "dollars": "cost"}
    if len(found) <= _MOST_BESIDE:
        beside = [
            [titles.get(name, name), *(_shown(name, row[name]) for row in found)] for name in names if name != "run_id"
        ]
        headers = ["", *(str(row["run_id"]) for row in found)]
        return run_sections.section("Results", table("What came of each run", headers, beside))
    cells = [[Cell(content=_shown(name, row[name])) for name in names] for row in found]
    return run_sections.section(
        "Results", table("What came of each run", [titles.get(name, name) for name in names], cells)
    )


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "seconds":
        return duration(value)
    if name == "dollars":
        return in_dollars(value)
    return number(value) if isinstance(value, float) else str(value)
