"""Parallel coordinates of a sweep: each trial as a line over what was drawn for it, to its score."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.reports.html.charts import frame, plot_section
from runner.reports.html.markup import Markup
from runner.reports.sweep_tables import newest_value, short_name, short_value, trial_line
from runner.reports.tables import number
from runner.sweeps.views.importance import finite, logarithmic_names
from runner.sweeps.views.overview import Overview, TrialRow

_MANY = 100
"""Lines of more trials than this let each other through."""
MOST_AXES = 10
"""Parameters that parallel coordinates show."""


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
    rows = [row for row in overview.trials if finite(newest_value(row)) is not None]
    scores = {row.trial.number: value for row in rows if (value := finite(newest_value(row))) is not None}
    drawn = list(_axes(overview, rows))
    if len(rows) < 2 or not drawn:
        return None
    metric = overview.definition.metric
    axes = [*drawn[:MOST_AXES], _numbers(metric, scores, logarithmic=False)]
    names = [short_name(axis.name, [axis.name for axis in axes]) for axis in axes]
    values = []
    for row in reversed(rows):  # the best on top
        places = [axis.places.get(row.trial.number) for axis in axes]
        values.append(
            {
                "trial": row.trial.number,
                "axis": [str(index) for index, place in enumerate(places) if place is not None],
                "at": [round(place, 4) for place in places if place is not None],
                "score": scores[row.trial.number],
                "drawn": trial_line(row.trial.values),
            }
        )
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
        "axis": {"labelExpr": titles, "labelAngle": -30, "labelLimit": 140, "domain": False, "grid": True},
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
            "transform": [{"flatten": ["axis", "at"]}],
            "mark": {"type": "line", "strokeWidth": 1.5, "aria": False},
            "encoding": {
                "x": x,
                "y": y,
                "color": color,
                "detail": {"field": "trial", "type": "nominal"},
                "strokeOpacity": {"value": 0.8 if len(rows) <= _MANY else 0.4},
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
    figure = plot_section("parallel", "Drawn values and the score", note)
    return figure, frame(f"What was drawn for each trial, and its {metric}", {"height": 300, "layer": layers})


# -- inside ------------------------------------------------------------------------------------------------------


def _axes(overview: Overview, rows: Sequence[TrialRow]) -> Iterator[_Axis]:
    """Yield an axis for each parameter that is not the same in all trials."""
    logarithmic = logarithmic_names(overview.definition)
    for name in dict.fromkeys(name for row in overview.trials for name in row.trial.values):
        values = {row.trial.number: row.trial.values[name] for row in rows if name in row.trial.values}
        if len({json.dumps(value, sort_keys=True) for value in values.values()}) < 2:
            continue
        numbers = {trial: place for trial, value in values.items() if (place := finite(value)) is not None}
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
