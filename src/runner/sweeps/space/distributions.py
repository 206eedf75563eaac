"""W&B's distributions, drawn by quantile: u from 0 to 1 gives a value, as W&B's own package gives it.

Source of the meaning: sweeps 0.3.0, ``params.py`` (`HyperParameter.ppf`) and ``grid_search.py``, which a test runs
beside this module. Only where W&B leaves the distribution at the very ends do we not follow: for u = 0 its whole
numbers are one below the minimum, a normal variable is infinite and one of `q_uniform` may be rounded to what is never
drawn otherwise, and for u = 1 a value with a probability can be the first one. Here the ends are the nearest values
that are drawn.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeAlias

from runner.recipe.recipe import Json
from runner.sweeps.space.beta import beta_cdf, beta_quantile

Settings: TypeAlias = Mapping[str, Any]

KEYS: Mapping[str, tuple[tuple[str, ...], Mapping[str, float]]] = {
    "constant": (("value",), {}),
    "categorical": (("values",), {}),
    "categorical_w_probabilities": (("values", "probabilities"), {}),
    "int_uniform": (("min", "max"), {}),
    "uniform": (("min", "max"), {}),
    "q_uniform": (("min", "max"), {"q": 1.0}),
    "log_uniform_values": (("min", "max"), {}),
    "inv_log_uniform_values": (("min", "max"), {}),
    "q_log_uniform_values": (("min", "max"), {"q": 1.0}),
    "normal": ((), {"mu": 0.0, "sigma": 1.0}),
    "q_normal": ((), {"mu": 0.0, "sigma": 1.0, "q": 1.0}),
    "log_normal": ((), {"mu": 0.0, "sigma": 1.0}),
    "q_log_normal": ((), {"mu": 0.0, "sigma": 1.0, "q": 1.0}),
    "beta": ((), {"a": 1.0, "b": 1.0}),
    "q_beta": ((), {"a": 1.0, "b": 1.0, "q": 1.0}),
}
"""Of each distribution, the keys that it must have, and those that it may have with their defaults."""

REPLACED = {
    "log_uniform": "log_uniform_values",
    "inv_log_uniform": "inv_log_uniform_values",
    "q_log_uniform": "q_log_uniform_values",
}
"""Distributions whose min and max are exponents of e, which W&B refuses since sweeps 0.3, and their replacements."""

_NORMAL = NormalDist()
_FIRST, _LAST = 2.0**-53, 1 - 2.0**-53
"""The smallest and the largest u that a random number generator gives, 0 aside."""
RARE = 1e-6
"""Values that are drawn less often than this are not looked at when a space is checked."""
_LOOKED_AT = (RARE, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1 - RARE)
MOST_IN_GRID = 100_000
"""A parameter has at most so many values in a grid."""
_MOST_VALUES = 1000
"""All values of a distribution are looked at if there are no more than this."""


@dataclass(frozen=True)
class Distribution:
    """One of W&B's distributions with all its settings."""

    name: str
    """W&B's name for it, a key of `KEYS`."""
    settings: Settings
    """Its settings under W&B's keys, defaults included."""

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to draw."""
        return self.name == "constant"

    def at(self, u: float) -> Json:
        """Return the value at the quantile `u`.

        Raises:
            ValueError: `u` is not from 0 to 1.
        """
        if not 0 <= u <= 1:
            raise ValueError(f"{u} is not a quantile: it is not from 0 to 1")
        return _QUANTILES[self.name](self.settings, u)

    def quantile_of(self, value: Json) -> float | None:
        """Return a u in the middle of those with this value, for a value from elsewhere; None: it is never drawn."""
        if self.name in ("constant", "categorical", "categorical_w_probabilities"):
            return self._quantile_of_choice(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        half = self.settings["q"] / 2 if "q" in self.settings else 0.5 if self.name == "int_uniform" else 0.0
        below, above = self._cdf(value - half), self._cdf(value + half)
        if half:
            possible = above > below and _near(self.at((below + above) / 2), value)
        else:
            possible = self.name not in _BOUNDED or self._holds(value)
        return float(below + above) / 2 if possible else None

    def values(self) -> list[Json] | None:
        """Return all values that can be drawn, each once, in order; None if there are too many to list."""
        settings = self.settings
        match self.name:
            case "constant":
                return [settings["value"]]
            case "categorical":
                return list(unique_values(settings["values"]))
            case "categorical_w_probabilities":
                pairs = zip(settings["values"], settings["probabilities"], strict=True)
                return list(unique_values([value for value, probability in pairs if probability > 0]))
            case "int_uniform" if settings["max"] - settings["min"] < _MOST_VALUES:
                return list(range(settings["min"], settings["max"] + 1))
            case "q_uniform" | "q_log_uniform_values" | "q_beta":
                low, high = self.at(0.0), self.at(1.0)
                steps = round((high - low) / settings["q"])
                if steps < _MOST_VALUES:
                    first = round(low / settings["q"])
                    return [_multiple(first + step, settings["q"]) for step in range(steps + 1)]
        return None

    def looked_at(self) -> list[Json]:
        """Return the values that stand for all when a space is checked: all if they are few, else the ends and some."""
        everything = self.values()
        if everything is not None:
            return everything
        ends = self.name in ("uniform", "int_uniform", "q_uniform") or "log_uniform" in self.name
        return list(unique_values([self.at(u) for u in ((0.0, *_LOOKED_AT, 1.0) if ends else _LOOKED_AT)]))

    def grid(self) -> Sequence[Json] | None:
        """Return what W&B's grid search goes through, in its order; None where it refuses the distribution.

        There are at most `MOST_IN_GRID`: None for more of them.
        """
        settings = self.settings
        match self.name:
            case "constant":
                return [settings["value"]]
            case "categorical":
                return list(unique_values(settings["values"]))
            case "int_uniform" if settings["max"] - settings["min"] < MOST_IN_GRID:
                return range(settings["min"], settings["max"] + 1)
            case "q_uniform" if settings["max"] - settings["min"] < MOST_IN_GRID * settings["q"]:
                return _arange(settings["min"], settings["max"], settings["q"])
        return None

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key} {value}' for key, value in self.settings.items())})"

    def _holds(self, value: float) -> bool:
        """Whether a range has the value, with its ends as they are rounded when they are drawn."""
        low, high = float(self.settings["min"]), float(self.settings["max"])
        return low <= value <= high or _near(value, low) or _near(value, high)

    def _quantile_of_choice(self, value: Json) -> float | None:
        if self.is_constant:
            return 0.5 if identity(value) == identity(self.settings["value"]) else None
        values = self.settings["values"]
        weights = self.settings.get("probabilities", [1 / len(values)] * len(values))
        edges = [0.0, *itertools.accumulate(weights)]
        for index, other in enumerate(values):
            if identity(other) == identity(value) and weights[index] > 0:
                return float(edges[index] + edges[index + 1]) / 2
        return None

    def _cdf(self, x: float) -> float:
        settings = self.settings
        match self.name.removeprefix("q_"):
            case "int_uniform":
                low, high = settings["min"] - 0.5, settings["max"] + 0.5
                return _between(x, low, high)
            case "uniform":
                return _between(x, settings["min"], settings["max"])
            case "log_uniform_values" | "inv_log_uniform_values":
                return 0.0 if x <= 0 else _between(math.log(x), math.log(settings["min"]), math.log(settings["max"]))
            case "normal":
                return _normal_cdf((x - settings["mu"]) / settings["sigma"])
            case "log_normal":
                return 0.0 if x <= 0 else _normal_cdf((math.log(x) - settings["mu"]) / settings["sigma"])
            case _:
                return beta_cdf(x, settings["a"], settings["b"])


def identity(value: Json) -> str:
    """Return a text that equal values of a grid share: for W&B 3.0 is 3, and true is not 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


def unique_values(values: Sequence[Json]) -> Sequence[Json]:
    """Return each value once, where it is first; of two that are one for W&B (3 and 3.0) the later, as W&B does."""
    return list({identity(value): value for value in values}.values())


def _between(x: float, low: float, high: float) -> float:
    return min(max((x - low) / (high - low), 0.0), 1.0)


def _normal_cdf(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _index(u: float, low: int, high: int) -> int:
    """Return the whole number from `low` to `high` - 1 at the quantile u, with scipy's rounding."""
    u = min(max(u, _FIRST), 1.0)
    value = math.ceil(u * (high - low) + low) - 1
    before = min(max(value - 1, low), high)
    return min(max(before if (before - low + 1) / (high - low) >= u else value, low), high - 1)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _uniform(settings: Settings, u: float) -> float:
    return float(u * (settings["max"] - settings["min"]) + settings["min"])


def _log_uniform(settings: Settings, u: float) -> float:
    low, high = math.log(settings["min"]), math.log(settings["max"])
    return _exp(u * (high - low) + low)


def _inv_log_uniform(settings: Settings, u: float) -> float:
    low, high = -math.log(settings["max"]), -math.log(settings["min"])
    return _exp(-((1 - u) * (high - low) + low))


def _normal(settings: Settings, u: float) -> float:
    return float(_NORMAL.inv_cdf(min(max(u, _FIRST), _LAST)) * settings["sigma"] + settings["mu"])


def _log_normal(settings: Settings, u: float) -> float:
    return _exp(settings["sigma"] * _NORMAL.inv_cdf(min(max(u, _FIRST), _LAST))) * _exp(settings["mu"])


def _beta(settings: Settings, u: float) -> float:
    return beta_quantile(u, settings["a"], settings["b"])


def _by_probability(settings: Settings, u: float) -> Json:
    drawn = [index for index, probability in enumerate(settings["probabilities"]) if probability > 0]
    for index, total in enumerate(itertools.accumulate(settings["probabilities"])):
        if u < total:
            return settings["values"][index]
    return settings["values"][drawn[-1]]


def _multiple(count: int, q: float) -> float:
    return count * q if isinstance(q, int) else float(count) * q


def _rounded(quantile: Callable[[Settings, float], float]) -> Callable[[Settings, float], Json]:
    """Return the quantile of the same distribution, rounded to multiples of q. A half goes to the even one."""

    def rounded(settings: Settings, u: float) -> Json:
        value = quantile(settings, min(max(u, _FIRST), _LAST)) / settings["q"]
        return _multiple(round(value), settings["q"]) if math.isfinite(value) else value

    return rounded


_QUANTILES: Mapping[str, Callable[[Settings, float], Json]] = {
    "constant": lambda settings, u: settings["value"],
    "categorical": lambda settings, u: settings["values"][_index(u, 0, len(settings["values"]))],
    "categorical_w_probabilities": _by_probability,
    "int_uniform": lambda settings, u: _index(u, settings["min"], settings["max"] + 1),
    "uniform": _uniform,
    "q_uniform": _rounded(_uniform),
    "log_uniform_values": _log_uniform,
    "inv_log_uniform_values": _inv_log_uniform,
    "q_log_uniform_values": _rounded(_log_uniform),
    "normal": _normal,
    "q_normal": _rounded(_normal),
    "log_normal": _log_normal,
    "q_log_normal": _rounded(_log_normal),
    "beta": _beta,
    "q_beta": _rounded(_beta),
}
_BOUNDED = ("uniform", "log_uniform_values", "inv_log_uniform_values")


def _arange(low: float, high: float, q: float) -> list[Json]:
    """Return what ``numpy.arange(low, high, q).tolist()`` does: `high` is left out; each is low + k (low + q - low)."""
    count = max(0, math.ceil((high - low) / q))
    if all(isinstance(number, int) for number in (low, high, q)):
        return [low + index * q for index in range(count)]
    low = float(low)
    step = (low + q) - low
    return [low + index * step for index in range(count)]
