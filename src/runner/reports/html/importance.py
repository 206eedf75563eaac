"""How much each parameter of a sweep says of the metric: the epsilon squared of Kruskal and Wallis, on ranks.

The trials are parted by the parameter's values: into those that are equal, or, of many numbers, into up to five groups of
equal size. Epsilon squared is the share of the variance of the metric's ranks that lies between the groups, less what
chance alone puts there: ``(H - k + 1) / (n - k)`` for k groups of n trials. 0: the parameter says nothing; 1: all. It sees
relations that go up and down, no matter of what form, and outliers count no more than others. It looks at one parameter
at a time: two that matter only together do not show.

Source: Tomczak and Tomczak, "The need to report effect size estimates revisited" (2014).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEWEST = 8
"""Trials that are needed to say anything."""
_GROUPS = 5


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What one parameter says of the metric."""

    name: str
    value: float
    """Epsilon squared, from 0 to 1."""
    direction: float | None
    """Spearman's rank correlation of the parameter and the metric, from -1 to 1; None: it has no order."""
    trials: int
    """How many have both."""


def importances(values: Sequence[Mapping[str, Any]], metric: Sequence[float]) -> list[Importance]:
    """Return the importance of each parameter that varies, the greatest first. Empty with fewer than `FEWEST` trials.

    Args:
        values: each trial's values by parameter.
        metric: each trial's metric, finite, in the same order.
    """
    names = dict.fromkeys(name for one in values for name in one)
    found = []
    for name in names:
        pairs = [(one[name], score) for one, score in zip(values, metric, strict=True) if name in one]
        if len(pairs) < FEWEST:
            continue
        drawn, scores = [pair[0] for pair in pairs], ranks([pair[1] for pair in pairs])
        groups = _groups(drawn)
        if len(set(groups)) < 2 or len(set(groups)) >= len(pairs):
            continue
        numeric = all(type(value) in (int, float) for value in drawn)
        found.append(
            Importance(
                name=name,
                value=_epsilon_squared(groups, scores),
                direction=correlation(ranks([float(value) for value in drawn]), scores) if numeric else None,
                trials=len(pairs),
            )
        )
    return sorted(found, key=lambda one: -one.value)


def ranks(values: Sequence[float]) -> list[float]:
    """Return each value's place, counted from 1; equal values have the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    places = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            places[index] = (start + 1 + end) / 2
        start = end
    return places


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Pearson's correlation; 0 where either is constant."""
    mean_one, mean_other = sum(one) / len(one), sum(other) / len(other)
    both = sum((a - mean_one) * (b - mean_other) for a, b in zip(one, other, strict=True))
    squares = sum((a - mean_one) ** 2 for a in one) * sum((b - mean_other) ** 2 for b in other)
    return both / squares**0.5 if squares > 0 else 0.0


def _groups(values: Sequence[Any]) -> list[Any]:
    """Return each value's group."""
    numeric = all(type(value) in (int, float) for value in values)
    if not numeric:
        return [json.dumps(value, sort_keys=True, default=str) for value in values]
    if len(set(values)) <= _GROUPS:
        return list(values)
    count = min(_GROUPS, len(values) // 3)
    return [int((place - 0.5) * count / len(values)) for place in ranks(values)]


def _epsilon_squared(groups: Sequence[Any], scores: Sequence[float]) -> float:
    total, mean = len(scores), (len(scores) + 1) / 2
    members: dict[Any, list[float]] = {}
    for group, score in zip(groups, scores, strict=True):
        members.setdefault(group, []).append(score)
    between = sum(len(one) * (sum(one) / len(one) - mean) ** 2 for one in members.values())
    variance = sum((score - mean) ** 2 for score in scores) / (total - 1)
    if variance <= 0 or total <= len(members):
        return 0.0
    statistic = between / variance
    return min(1.0, max(0.0, (statistic - len(members) + 1) / (total - len(members))))
