"""The plots of the report of a sweep: the best so far, what mattered, and the trials from rung to rung."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from runner.reports.html.charts import COLORS, ROOM, Made, frame, plot_section
from runner.reports.html.markup import Markup, table
from runner.reports.sweep_tables import newest_value, short_name, short_value
from runner.reports.tables import number
from runner.sweeps.members import Trial
from runner.sweeps.views.importance import finite, importances
from runner.sweeps.views.overview import Overview
from runner.sweeps.views.verdicts import ordinal

_BAR = 26
"""The height of a parameter's bar, in pixels."""
_MOST_WORDS = 4
"""Different words of the best trials that are said."""


def best_so_far(overview: Overview) -> Made | None:
    """Return the score of each trial in the order of their numbers, and the best until then; None without any score."""
    definition = overview.definition
    last = len(definition.rungs)
    values: list[dict[str, Any]] = []
    best: list[dict[str, Any]] = []
    for row in sorted(overview.trials, key=lambda row: row.trial.number):
        value, is_end = finite(newest_value(row)), last in row.trial.scores
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
    x = {"field": "trial", "type": "quantitative", "title": "trial", "axis": {"tickMinStep": 1}, "scale": ROOM}
    y = {"field": "value", "type": "quantitative", "title": metric, "scale": ROOM}
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
            "mark": {"type": "point", "filled": True, "opacity": 1, "tooltip": {"content": "data"}, "aria": False},
            "encoding": {"x": x, "y": y, "color": color},
        },
    ]
    note = (
        "The line is the best so far of the trials that were trained to their end; others stand at their newest value."
    )
    figure = plot_section("best_so_far", "Best so far", note)
    return figure, frame(f"{metric} of each trial, and the best so far", {"layer": layers})


def importance(overview: Overview) -> Made | None:
    """Return how much each parameter has to do with which trials are the best; None where nothing can be told."""
    found = importances(overview)
    if found is None:
        return None
    names = [one.name for one in found.parameters]
    values = [
        {"parameter": short_name(one.name, names), "share": round(one.share, 4), "by chance": round(one.by_chance, 4)}
        for one in found.parameters
    ]
    y = {
        "field": "parameter",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 120, "domain": False, "ticks": False},
    }
    x = {
        "type": "quantitative",
        "title": "importance",
        "axis": {"format": "%", "tickCount": 5},
        "scale": {"domainMin": 0},
    }
    tooltip = [
        {"field": "parameter", "type": "nominal"},
        {"field": "share", "type": "quantitative", "format": ".1%"},
        {"field": "by chance", "type": "quantitative", "format": ".1%"},
    ]
    layers = [
        {
            "mark": {"type": "bar", "color": COLORS[0], "height": {"band": 0.6}},
            "encoding": {"x": {**x, "field": "share"}, "y": y, "tooltip": tooltip},
        },
        {
            "mark": {"type": "tick", "color": "var(--ink)", "thickness": 2, "height": {"band": 0.8}},
            "encoding": {"x": {**x, "field": "by chance"}, "y": y, "tooltip": tooltip},
        },
    ]
    note = (
        f"How differently the values of the best {found.best} of {found.trials} trials are spread from those of all "
        "(PED-ANOVA). What stays below its mark may be chance: 19 in 20 parameters that do not matter do."
    )
    cells = [(one.name, f"{one.share:.1%}", f"{one.by_chance:.1%}", _spread(one.best)) for one in found.parameters]
    headers = ["parameter", "importance", "by chance", f"in the best {found.best}"]
    shown = table("What each parameter has to do with which trials are the best", headers, cells, right=(1, 2))
    figure = plot_section("importance", "What mattered", note, shown)
    data = {"data": {"values": values}, "height": _BAR * len(values), "layer": layers}
    return figure, frame("The importance of each parameter", data)


def way(overview: Overview) -> Made | None:
    """Return the trials from rung to rung, and the way of the best; None without rungs or scores."""
    definition, best = overview.definition, overview.best
    if not definition.rungs or best is None:
        return None
    last = definition.max_steps or max(row.trial.step for row in overview.trials)
    steps = [*definition.rungs, max(last, definition.rungs[-1] + 1)]
    values = [
        {"trial": row.trial.number, "step": steps[rung], "value": value, "why": row.why}
        for row in overview.trials
        for rung, score in sorted(row.trial.scores.items())
        if (value := finite(score)) is not None
    ]
    metric = definition.metric
    axis = {"values": steps, "labelOverlap": True, "format": "d"}
    scale = {"type": "log", "nice": False, "domain": [steps[0] / 1.1, steps[-1] * 1.1]}
    x = {"field": "step", "type": "quantitative", "title": "step", "axis": axis, "scale": scale}
    y = {"field": "value", "type": "quantitative", "title": metric, "scale": ROOM}
    detail = {"field": "trial", "type": "nominal"}
    tooltip = [
        {"field": "trial", "type": "nominal"},
        {"field": "step", "type": "quantitative"},
        {"field": "value", "type": "quantitative", "title": metric, "format": ".5g"},
        {"field": "why", "type": "nominal"},
    ]
    counts = Counter(one["trial"] for one in values)
    went_on = [one for one in values if counts[one["trial"]] > 1]
    of_best = [one for one in values if one["trial"] == best.number]
    gray, accent = COLORS[7], COLORS[2]
    layers = [
        {
            "data": {"values": values},
            "mark": {"type": "point", "filled": True, "size": 28, "color": gray, "opacity": 1, "aria": False},
            "encoding": {"x": x, "y": y, "tooltip": tooltip, "fillOpacity": {"value": 0.6}, "detail": detail},
        },
        {
            "data": {"values": went_on},
            "mark": {"type": "line", "strokeWidth": 1, "color": gray, "strokeOpacity": 0.35, "aria": False},
            "encoding": {"x": x, "y": y, "detail": detail},
        },
        {
            "data": {"values": of_best},
            "mark": {"type": "line", "strokeWidth": 2.5, "color": accent, "point": {"color": accent, "size": 50}},
            "encoding": {"x": x, "y": y, "tooltip": tooltip},
        },
    ]
    note = f"Each point is a trial at a rung, its line goes on to the next; trial {best.number}, the best, is green."
    figure = plot_section("way", "From rung to rung", note, _way_table(overview, best, steps))
    return figure, frame(f"{metric} of the trials from rung to rung", {"height": 280, "layer": layers})


# -- inside --------------------------------------------------------------------------------------------------------


def _way_table(overview: Overview, best: Trial, steps: Sequence[int]) -> Markup:
    """Where the best trial stood at each rung, among those of its bracket."""
    sign = overview.definition.sign
    cells = []
    for rung, score in sorted(best.scores.items()):
        value = finite(score)
        others = [
            sign * other
            for row in overview.trials
            if row.trial.bracket == best.bracket and (other := finite(row.trial.scores.get(rung))) is not None
        ]
        place = "-"
        if value is not None:
            place = f"{ordinal(1 + sum(other < sign * value for other in others))} of {len(others)}"
        first = number(sign * min(others), 5) if others else "-"
        cells.append((str(steps[rung]), number(value, 5), place, first))
    headers = ["step", overview.definition.metric, "place", "the best there"]
    return table(f"The way of the best, trial {best.number}", headers, cells, right=(1, 2, 3))


def _spread(values: Sequence[Any]) -> str:
    """What the best trials have of a parameter: from the least to the greatest, or how many have which word."""
    numbers = [number for value in values if (number := finite(value)) is not None]
    if len(numbers) == len(values) and len(set(numbers)) > _MOST_WORDS:
        low, high = (next(value for value in values if value == end) for end in (min(numbers), max(numbers)))
        return f"{short_value(low)} to {short_value(high)}"
    counted = Counter(short_value(value) for value in values)
    said = [f"{word} ({count})" for word, count in counted.most_common(_MOST_WORDS)]
    return ", ".join(said) + (f" and {len(counted) - _MOST_WORDS} others" if len(counted) > _MOST_WORDS else "")
