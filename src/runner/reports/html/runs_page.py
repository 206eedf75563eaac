"""The report of one run or of several: their results, curves, and settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from runner.redaction import is_secret_name
from runner.reports.comparison import ComparedRun, Comparison, rows
from runner.reports.html.markup import Cell, Content, Markup, table, tag
from runner.reports.html.page import page
from runner.reports.html.thinning import Points, thin
from runner.reports.tables import duration, number

_COLORS = ["#4c78d0", "#d0762f", "#3d9970", "#b04fa0", "#c0a020", "#5fb3ce", "#d05060", "#8a7a6a"]
_MOST_BESIDE = 4
"""Runs whose results stand beside each other, a column for each; of more, each has a row."""


def runs_page(comparison: Comparison) -> str:
    """Return the page. Curves of many points are thinned, which the page says."""
    runs = comparison.runs
    title = f"{runs[0].run_id}: {runs[0].status.shown_state}" if len(runs) == 1 else f"{len(runs)} runs"
    plots: dict[str, Any] = {}
    parts: list[Content] = [_facts(comparison)]
    for name, label, curves in (
        ("loss", "Training loss", {run.run_id: run.losses for run in runs}),
        ("eval_loss", "Evaluation loss", {run.run_id: run.eval_losses for run in runs}),
    ):
        if any(curves.values()):
            plots[name] = _plot(label, curves)
            parts.append(_figure(name, label, curves))
    parts.append(_results(comparison))
    if len(runs) == 1:
        settings = [
            (name, "***" if is_secret_name(name.rpartition(".")[2]) else str(value))
            for name, value in runs[0].settings.items()
        ]
        parts.append(_section("Settings", table("Each setting and its value", ["setting", "value"], settings)))
    return page(title, parts, plots)


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
        ("cost", "not known" if best.dollars is None else f"${best.dollars:.2f}"),
    ]
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts])


def _recipe(run: ComparedRun) -> str:
    return run.status.recipe


def _results(comparison: Comparison) -> Markup:
    found = [{name: value for name, value in row.items() if name != "digest"} for row in rows(comparison)]
    names = [name for name in found[0] if any(row[name] is not None for row in found)]
    if len(found) <= _MOST_BESIDE:
        beside = [[name, *(_shown(row[name]) for row in found)] for name in names if name != "run_id"]
        headers = ["", *(str(row["run_id"]) for row in found)]
        return _section("Results", table("What came of each run", headers, beside))
    cells = [[Cell(content=_shown(row[name])) for name in names] for row in found]
    return _section("Results", table("What came of each run", names, cells))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value)


def _section(title: str, *content: Content) -> Markup:
    return tag("section", tag("h2", title), content)


def _figure(name: str, label: str, curves: Mapping[str, Points]) -> Markup:
    points = [
        (run_id, f"{step:g}", number(value)) for run_id, curve in curves.items() for step, value in thin(curve, 40)
    ]
    numbers = tag("details", tag("summary", f"{label} as a table"), table(label, ["run", "step", label], points))
    note = "Curves of more than 600 points are thinned: of each piece the least and the greatest value are kept."
    plot = tag("div", class_="plot", id=name)
    return _section(label, tag("figure", plot, tag("figcaption", tag("p", note))), numbers)


def _plot(label: str, curves: Mapping[str, Sequence[tuple[float, float | None]]]) -> dict[str, Any]:
    values = [
        {"run": run_id, "step": step, "value": value}
        for run_id, curve in curves.items()
        for step, value in thin(curve)
        if value is not None
    ]
    color: dict[str, Any] = {"field": "run", "type": "nominal", "scale": {"range": _COLORS}}
    color["legend"] = {"orient": "bottom", "columns": 1, "labelLimit": 260, "title": None} if len(curves) > 1 else None
    axis = {"labelColor": "var(--quiet)", "titleColor": "var(--quiet)", "gridColor": "var(--line)"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": f"{label} by step",
        "width": "container",
        "height": 240,
        "background": None,
        "data": {"values": values},
        "mark": {"type": "line", "tooltip": True, "point": len(values) < 40 * len(curves)},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "step", "axis": {"tickMinStep": 1}},
            "y": {"field": "value", "type": "quantitative", "title": label, "scale": {"zero": False}},
            "color": color,
        },
        "config": {"axis": axis, "view": {"stroke": None}, "legend": {"labelColor": "var(--ink)"}},
    }
