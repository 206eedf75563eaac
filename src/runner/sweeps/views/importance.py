"""How much each parameter of a sweep has to do with which trials are the best. Pure: no store, no clock.

The method is PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), Optuna's own default since 5: a parameter matters as
far as its values among the best trials are spread otherwise than among all. It needs nothing but which trials are the
best, so that trials which stopped at different rungs can be compared; what looks at scores themselves (fANOVA) would
take those of other steps for the same. Own code, since Optuna is an extra of the training side, and a report must be
the same wherever it is made. A test holds the shares against Optuna's.
"""

import json
import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Any

from runner.sweeps.definition import Definition
from runner.sweeps.views.overview import Overview, TrialRow, leaderboard

LEAST_TRIALS = 10
"""Of fewer nothing can be told."""

_BEST_SHARE, _LEAST_BEST = 0.1, 5
"""How many trials are the best: this share of all, and not fewer than so many."""
_CELLS = 50
"""Into how many cells a parameter's range is cut."""
_FEW = 8
"""Numbers of no more different values than this are compared value by value."""
_SHUFFLES = 40
"""How often trials are chosen by chance, to see what chance makes of them."""
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class ParameterImportance:
    """What one parameter has to do with which trials are the best."""

    name: str
    share: float
    """Of the importance of all parameters together, which is 1."""
    by_chance: float
    """The share that 19 in 20 parameters which do not matter stay below, found by drawing trials by lot."""
    best: Sequence[Any]
    """Its values in the best trials, the best first."""


@dataclass(frozen=True, kw_only=True)
class Importances:
    """The importance of the parameters of a sweep."""

    trials: int
    """How many were looked at."""
    best: int
    """How many of them are the best."""
    parameters: Sequence[ParameterImportance]
    """The most important first."""


def importances(overview: Overview) -> Importances | None:
    """Return how important each parameter is that differs; None: too few trials to tell, or none differs.

    Trials of Hyperband's brackets begin at different steps: there the best are those with the best place within their
    bracket. Trials that diverged count, as the worst; those that failed otherwise do not.
    """
    rows = _ranked(overview)
    if len(rows) < LEAST_TRIALS:
        return None
    best = min(len(rows) // 2, max(_LEAST_BEST, math.ceil(_BEST_SHARE * len(rows))))
    logarithmic = logarithmic_names(overview.definition)
    names = dict.fromkeys(name for row in rows for name in row.trial.values)
    spreads: dict[str, _Spread] = {}
    for name in names:
        values = [row.trial.values.get(name) for row in rows]
        if len({json.dumps(value, sort_keys=True) for value in values}) > 1:
            spreads[name] = _spread(values, is_logarithmic=name in logarithmic)
    found = {name: spread.divergence(range(best)) for name, spread in spreads.items()}
    total = sum(found.values())
    if not total:
        return None
    draw = random.Random(0)
    lots = [draw.sample(range(len(rows)), best) for _ in range(_SHUFFLES)]
    parameters = [
        ParameterImportance(
            name=name,
            share=found[name] / total,
            by_chance=sorted(spread.divergence(lot) for lot in lots)[len(lots) * 19 // 20 - 1] / total,
            best=[row.trial.values.get(name) for row in rows[:best]],
        )
        for name, spread in spreads.items()
    ]
    parameters.sort(key=lambda parameter: -parameter.share)
    return Importances(trials=len(rows), best=best, parameters=parameters)


def logarithmic_names(definition: Definition) -> set[str]:
    """Return the names of the parameters that are drawn on a logarithmic scale."""
    parameters = definition.space.get("parameters") or []
    return {one["name"] for one in parameters if "log" in str(one.get("distribution", {}).get("name"))}


def finite(value: Any) -> float | None:
    """Return a finite number as it is, and anything else as None; True is no number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


# -- which trials are the best -------------------------------------------------------------------------------------


def _ranked(overview: Overview) -> list[TrialRow]:
    """Trials that tell something, the best first."""
    brackets: dict[int, list[TrialRow]] = {}
    for row in leaderboard(overview):
        trial = row.trial
        if trial.kind == "diverged" if trial.state == "failed" else trial.scores:
            brackets.setdefault(trial.bracket, []).append(row)
    places = [(place / len(rows), row) for rows in brackets.values() for place, row in enumerate(rows)]
    return [row for _, row in sorted(places, key=lambda placed: placed[0])]


# -- how their values are spread -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spread:
    """In which cell each trial's value of a parameter is."""

    cells: Sequence[int]
    count: int
    """How many cells there are."""
    is_ordered: bool
    """Whether cells are beside each other: numbers, not words."""

    def divergence(self, chosen: Sequence[int]) -> float:
        """Return how far the chosen trials' values are spread otherwise than all are: Pearson's divergence."""
        of_all = self._density(self.cells)
        of_chosen = self._density([self.cells[index] for index in chosen])
        return sum(all_ * (one / all_ - 1) ** 2 for one, all_ in zip(of_chosen, of_all, strict=True))

    def _density(self, cells: Sequence[int]) -> list[float]:
        counts = [0] * self.count
        for cell in cells:
            counts[cell] += 1
        made = _smoothed(counts) if self.is_ordered else _counted(counts)
        return [density + 1e-12 for density in made]


def _spread(values: Sequence[Any], *, is_logarithmic: bool) -> _Spread:
    numbers = [number for value in values if (number := finite(value)) is not None]
    if len(numbers) < len(values) or len(set(numbers)) <= _FEW:
        texts = [json.dumps(value, sort_keys=True) for value in values]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        return _Spread([places[text] for text in texts], len(places), is_ordered=False)
    if is_logarithmic and min(numbers) > 0:
        numbers = [math.log(number) for number in numbers]
    low, high = min(numbers), max(numbers)
    cells = [math.ceil((number - low) / (high - low) * (_CELLS - 1) - 0.5) for number in numbers]
    return _Spread([max(0, cell) for cell in cells], _CELLS, is_ordered=True)


def _counted(counts: Sequence[int]) -> list[float]:
    """The probability of each word: each that was seen lends some to the others, and one more trial has all alike."""
    kernels = sum(1 for count in counts if count) + 1
    lent = 1 / kernels
    whole = 1 + len(counts) * lent
    trials = sum(counts)
    return [(trials * lent / whole + count / whole + 1 / len(counts)) / (trials + 1) for count in counts]


def _smoothed(counts: Sequence[int]) -> list[float]:
    """The probability of each cell by a kernel estimate, its width by Scott's rule, with one more, very wide kernel."""
    length, width = len(counts), _width(counts)
    # Edges of cells around the middle of a kernel: what lies below each.
    below = [_NORMAL.cdf((offset - 0.5) / width) for offset in range(1 - length, length + 1)]
    wide = [_NORMAL.cdf((cell - length / 2) / length) for cell in range(length + 1)]
    sums = [0.0] * length
    kernels = [(below[length - 1 - cell :], count) for cell, count in enumerate(counts) if count]
    for edges, count in (*kernels, (wide, 1)):
        scale = count / (edges[length] - edges[0])
        for cell in range(length):
            sums[cell] += (edges[cell + 1] - edges[cell]) * scale
    trials = sum(counts) + 1
    return [kernel_sum / trials for kernel_sum in sums]


def _width(counts: Sequence[int]) -> float:
    number = sum(counts)
    mean = sum(cell * count for cell, count in enumerate(counts)) / number
    variance = sum((cell - mean) ** 2 * count for cell, count in enumerate(counts)) / max(1, number - 1)
    reached = list(accumulate(counts))
    first = bisect_left(reached, max(1, number // 4))
    third = min(bisect_right(reached, number * 3 // 4), len(counts) - 1)
    middle_half = (third - first) / 1.34
    return max(1.059 * min(middle_half, math.sqrt(variance)) * math.pow(number, -0.2), 0.5 / 1.64)
