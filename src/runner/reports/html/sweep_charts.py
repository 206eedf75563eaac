"""The plots of the report of a sweep: the best so far, and drawn values against the score as parallel coordinates."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.reports.html.charts import COLORS, frame
from runner.reports.html.markup import Markup, tag
from runner.reports.sweep_tables import newest_value, short_value
from runner.reports.tables import number
from runner.sweeps.views.overview import Overview, TrialRow

MOST_AXES = 10
"""Parameters that parallel coordinates show."""


def best_so_far(overview: Overview) -> tuple[Markup, dict[str, Any]] | None:
    """Return the score of each trial in the order of their numbers, and the best until then; None without any score."""
    definition = overview.definition
    last = len(definition.rungs)
    values: list[dict[str, Any]] = []
    best: list[dict[str, Any]] = []
    for row in sorted(overview.trials, key=lambda row: row.trial.number):
        value, is_end = _finite(newest_value(row)), last in row.trial.scores
        if value is None:
            continue
        kind = "trained to its end" if is_end else "trained in part"
        values.append({"trial": row.trial.number, "value": value, "kind": kind, "state": row.outlook})
        if is_end and (not best or definition.sign * value < definition.sign * best[-1]["value"]):
            best.append({"trial": row.trial.number, "value": value})
    if not values:
        return None
    if best:
        best.append({"trial": values[-1]["trial"], "value": best[-1]["value"]})
    metric = definition.metric
    x = {"field": "trial", "type": "quantitative", "title": "trial", "axis": {"tickMinStep": 1}}
    y = {"field": "value", "type": "quantitative", "title": metric, "scale": {"zero": False}}
    kinds = ["trained to its end", "trained in part"]
    color = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": kinds, "range": [COLORS[0], COLORS[7]]},
        "legend": {"orient": "bottom", "columns": 1},
    }
    layers = [
        {
            "data": {"values": best},
            "mark": {"type": "line", "interpolate": "step-after", "color": COLORS[2], "strokeWidth": 2},
            "encoding": {"x": x, "y": y},
        },
        {
            "data": {"values": values},
            "mark": {"type": "point", "filled": True, "tooltip": {"content": "data"}},
            "encoding": {"x": x, "y": y, "color": color},
        },
    ]
    note = (
        "The line is the best so far of the trials that were trained to their end; others stand at their newest value."
    )
    figure = _figure("best_so_far", "Best so far", note)
    return figure, frame(f"{metric} of each trial, and the best so far", {"layer": layers})


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One axis of parallel coordinates."""

    name: str
    places: Mapping[int, float]
    """Where each trial stands, from 0 to 1, by its number."""
    lowest: str
    highest: str


def parallel_coordinates(overview: Overview) -> tuple[Markup, dict[str, Any]] | None:
    """Return each trial as a line over what was drawn for it, and its score; None where there is nothing to compare."""
    rows = [row for row in overview.trials if _finite(newest_value(row)) is not None]
    scores = {row.trial.number: value for row in rows if (value := _finite(newest_value(row))) is not None}
    drawn = list(_axes(overview, rows))
    if len(rows) < 2 or not drawn:
        return None
    metric = overview.definition.metric
    axes = [*drawn[:MOST_AXES], _numbers(metric, scores, logarithmic=False)]
    names = [axis.name for axis in axes]
    values = [
        {
            "trial": row.trial.number,
            "axis": str(index),
            "at": round(axis.places[row.trial.number], 4),
            "score": scores[row.trial.number],
            "drawn": ", ".join(f"{name} {short_value(value)}" for name, value in row.trial.values.items()),
        }
        for row in reversed(rows)  # the best on top
        for index, axis in enumerate(axes)
        if row.trial.number in axis.places
    ]
    ends = [
        {"axis": str(index), "at": at, "text": text}
        for index, axis in enumerate(axes)
        for at, text in ((0, axis.lowest), (1, axis.highest))
    ]
    titles = f"{json.dumps(names)}[toNumber(datum.value)]"
    x = {
        "field": "axis",
        "type": "nominal",
        "sort": [str(index) for index in range(len(axes))],
        "title": None,
        "axis": {"labelExpr": titles, "labelAngle": -30, "labelLimit": 110, "domain": False, "grid": True},
        "scale": {"type": "point", "padding": 0.3},
    }
    y = {"field": "at", "type": "quantitative", "axis": None, "scale": {"domain": [-0.08, 1.08]}}
    color = {
        "field": "score",
        "type": "quantitative",
        "title": metric,
        "scale": {"scheme": "viridis", "reverse": overview.definition.sign < 0},
        "legend": {"orient": "bottom", "gradientLength": 200},
    }
    tooltip = [
        {"field": "trial", "type": "nominal"},
        {"field": "score", "type": "quantitative", "title": metric, "format": ".5g"},
        {"field": "drawn", "type": "nominal"},
    ]
    layers = [
        {
            "data": {"values": values},
            "params": [{"name": "over", "select": {"type": "point", "on": "pointerover", "fields": ["trial"]}}],
            "mark": {"type": "line", "strokeWidth": 1.5},
            "encoding": {
                "x": x,
                "y": y,
                "color": color,
                "detail": {"field": "trial", "type": "nominal"},
                "opacity": {"condition": {"param": "over", "value": 0.8}, "value": 0.08},
                "tooltip": tooltip,
            },
        },
        {
            "data": {"values": ends},
            "mark": {"type": "text", "fontSize": 10, "color": "var(--ink)", "dy": {"expr": "datum.at ? -8 : 8"}},
            "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}},
        },
    ]
    note = f"Each line is a trial, from what was drawn for it to {metric} at the right; each axis has its own scale."
    if len(drawn) > MOST_AXES:
        note += f" The first {MOST_AXES} of {len(drawn)} parameters are shown."
    figure = _figure("parallel", "Drawn values and the score", note)
    return figure, frame(f"What was drawn for each trial, and its {metric}", {"height": 300, "layer": layers})


# -- inside --------------------------------------------------------------------------------------------------------


def _figure(name: str, title: str, note: str) -> Markup:
    plot = tag("div", class_="plot", id=name)
    return tag("section", tag("h2", title), tag("figure", plot, tag("figcaption", tag("p", note))))


def _axes(overview: Overview, rows: Sequence[TrialRow]) -> Iterator[_Axis]:
    """Yield an axis for each parameter that is not the same in all trials."""
    logarithmic = _logarithmic(overview)
    for name in dict.fromkeys(name for row in overview.trials for name in row.trial.values):
        values = {row.trial.number: row.trial.values[name] for row in rows if name in row.trial.values}
        if len({json.dumps(value, sort_keys=True) for value in values.values()}) < 2:
            continue
        numbers = {trial: place for trial, value in values.items() if (place := _finite(value)) is not None}
        if len(numbers) == len(values):
            is_logarithmic = name in logarithmic and min(numbers.values()) > 0
            yield _numbers(name, numbers, logarithmic=is_logarithmic)
        else:
            yield _words(name, {trial: short_value(value) for trial, value in values.items()})


def _numbers(name: str, values: Mapping[int, float], *, logarithmic: bool) -> _Axis:
    low, high = min(values.values()), max(values.values())
    scale = math.log if logarithmic else float
    width = scale(high) - scale(low)
    places = {trial: (scale(value) - scale(low)) / width if width else 0.5 for trial, value in values.items()}
    return _Axis(name=name, places=places, lowest=_end(low), highest=_end(high))


def _end(value: float) -> str:
    return number(int(value) if value.is_integer() and abs(value) < 1e6 else value, 3)


def _words(name: str, values: Mapping[int, str]) -> _Axis:
    words = sorted(set(values.values()))
    step = 1 / max(1, len(words) - 1)
    places = {trial: words.index(word) * step for trial, word in values.items()}
    return _Axis(name=name, places=places, lowest=words[0], highest=words[-1])


def _logarithmic(overview: Overview) -> set[str]:
    """The names of the parameters that are drawn on a logarithmic scale."""
    parameters = overview.definition.space.get("parameters") or []
    return {one["name"] for one in parameters if "log" in str(one.get("distribution", {}).get("name"))}


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
