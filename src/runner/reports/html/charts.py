"""Curves as Vega-Lite specifications, each with its figure: the plot, what it marks and leaves out, and its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.reports.html.markup import Content, Markup, table, tag
from runner.reports.html.thinning import MOST, Points, thin
from runner.reports.tables import number

COLORS = ("#4c78d0", "#d0762f", "#3d9970", "#b04fa0", "#c0a020", "#5fb3ce", "#d05060", "#8a7a6a")
"""Of curves, in their order; each is told from the others in the light and in the dark."""
Made = tuple[Markup, dict[str, Any]]
"""A plot's section in the page, and its Vega-Lite specification."""
ROOM: Mapping[str, Any] = {"nice": False, "padding": 6, "zero": False}
"""A scale that ends a little beyond the outermost points: what is outside of a plot's axes is cut off."""
_TABLE = 40
"""Points of a curve that its table has at most."""

_SAID = 5
"""Rules that are said below a plot."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A place of the x axis that a plot marks."""

    at: float
    text: str
    """What happened there."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves in one plot."""

    name: str
    """The plot's id in the page."""
    label: str
    """What the curves are of."""
    curves: Mapping[str, Points]
    """By what each is of."""
    series: str = "run"
    """What the curves are of one by one."""
    x: str = "step"
    """What they are over, with its unit."""
    whole: bool = True
    """Whether all places are whole numbers."""
    rules: Sequence[Rule] = ()
    """What is marked."""
    says_rules: bool = True
    """Whether the first of them are said below the plot too."""
    zero: bool = False
    """Whether the y axis begins at zero."""


def figure(chart: Chart) -> Markup:
    """Return the plot's place in the page, with the numbers for those who do not see it."""
    points = [
        (name, f"{place:.6g}", number(value))
        for name, curve in chart.curves.items()
        for place, value in thin(curve, _TABLE)
    ]
    numbers = tag(
        "details",
        tag("summary", f"{chart.label} as a table"),
        table(chart.label, [chart.series, chart.x, chart.label], points, right=(1, 2)),
    )
    notes = [rule.text for rule in chart.rules[:_SAID]] if chart.says_rules else []
    if notes and len(chart.rules) > _SAID:
        notes.append(f"{len(chart.rules) - _SAID} more: the attempts are listed below.")
    if any(len(curve) > MOST for curve in chart.curves.values()):
        notes.append(
            f"Curves of more than {MOST} points are thinned: of each piece the least and the greatest are kept."
        )
    plot = tag("div", class_="plot", id=chart.name)
    caption = tag("figcaption", [tag("p", note) for note in notes]) if notes else None
    return tag("section", tag("h2", chart.label), tag("figure", plot, caption), numbers)


def plot_section(name: str, title: str, note: str, *below: Content) -> Markup:
    """Return the place of a plot that is no `Chart`, with a note and what stands below it."""
    plot = tag("div", class_="plot", id=name)
    return tag("section", tag("h2", title), tag("figure", plot, tag("figcaption", tag("p", note))), below)


def specification(chart: Chart) -> dict[str, Any]:
    """Return the plot; values that are not finite are left out."""
    values = [
        {"of": name, "at": place, "value": value}
        for name, curve in chart.curves.items()
        for place, value in thin(curve)
        if value is not None
    ]
    color: dict[str, Any] = {"field": "of", "type": "nominal", "title": chart.series, "scale": {"range": list(COLORS)}}
    color["scale"]["domain"] = list(chart.curves)
    legend = {"orient": "bottom", "columns": 1, "labelLimit": 260, "title": None}
    color["legend"] = legend if len(chart.curves) > 1 else None
    x: dict[str, Any] = {"field": "at", "type": "quantitative", "title": chart.x, "scale": dict(ROOM)}
    x["axis"] = {"tickMinStep": 1} if chart.whole else {}
    y = {"field": "value", "type": "quantitative", "title": chart.label, "scale": {**ROOM, "zero": chart.zero}}
    mark = {"type": "line", "tooltip": True, "point": len(values) < 40 * len(chart.curves)}
    layers: list[dict[str, Any]] = [{"mark": mark, "encoding": {"x": x, "y": y, "color": color}}]
    if chart.rules:
        layers.append(
            {
                "data": {"values": [{"at": rule.at, "what": rule.text} for rule in chart.rules]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 2, "color": "var(--quiet)"},
                "encoding": {"x": x, "tooltip": {"field": "what", "type": "nominal", "title": "interruption"}},
            }
        )
    return frame(f"{chart.label} by {chart.x}", {"data": {"values": values}, "layer": layers})


def frame(description: str, inside: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification in the page's own colours and width."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": description,
        "width": "container",
        "height": 240,
        "background": None,
        **inside,
        "config": {
            "axis": {"labelColor": "var(--quiet)", "titleColor": "var(--quiet)", "gridColor": "var(--line)"},
            "view": {"stroke": None},
            "legend": {"labelColor": "var(--ink)", "titleColor": "var(--ink)"},
        },
    }
