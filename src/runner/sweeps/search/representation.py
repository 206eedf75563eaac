"""Values as the coordinates that a model searches in, and back: quantiles, and indices of choices."""

import math
from collections.abc import Mapping
from typing import Any

from runner.sweeps.search.base import Observation
from runner.sweeps.space.distributions import Distribution, identity
from runner.sweeps.space.space import Space

MARGIN = 1e-6
"""How near to the quantiles 0 and 1 a model may go: an unbounded distribution gets absurd there. A normal one ends at
4.75 sigma."""

Point = dict[str, float | int]
"""By the parameter's name: a quantile, or the index of a choice."""


class Representation:
    """The coordinates of a space: one for each parameter that can have several values."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._distributions = {parameter.name: parameter.distribution for parameter in space.parameters}
        self._drawn = [parameter.name for parameter in space.drawn]
        self._choices = {
            name: [identity(value) for value in distribution.values() or ()]
            for name, distribution in self._distributions.items()
            if distribution.name.startswith("categorical")
        }
        self.names = [name for name, distribution in self._distributions.items() if _has_several(distribution)]
        """The parameters that can have several values."""

    def choices(self, name: str) -> int | None:
        """Return how many unordered choices a parameter has; None if its coordinate is the quantile."""
        return len(self._choices[name]) if name in self._choices else None

    def values(self, quantiles: Mapping[str, float]) -> Mapping[str, Any]:
        """Return the values at quantiles."""
        return self._space.values_at(quantiles)

    def quantiles(self, point: Mapping[str, float | int]) -> dict[str, float]:
        """Return the quantiles of a point, of the parameters that have one value only too."""
        return {name: self._quantile(name, point.get(name, 0)) for name in self._drawn}

    def _quantile(self, name: str, coordinate: float | int) -> float:
        if name not in self._choices:
            return min(max(float(coordinate), MARGIN), 1 - MARGIN)
        values = self._distributions[name].values()
        quantile = None if values is None else self._distributions[name].quantile_of(values[int(coordinate)])
        assert quantile is not None, f"{name} does not have its own choice {coordinate}"
        return quantile

    def point(self, observation: Observation) -> Point | None:
        """Return the point of an earlier trial; None if it is not in the space (any more)."""
        if observation.values.keys() != self._distributions.keys():
            return None
        point: Point = {}
        for name, value in observation.values.items():
            coordinate = self._coordinate(name, value, observation.quantiles.get(name))
            if coordinate is None:
                return None
            point[name] = coordinate
        return {name: point[name] for name in self.names}

    def _coordinate(self, name: str, value: Any, drawn_at: float | None) -> float | int | None:
        """Return a value's coordinate.

        Args:
            name: the parameter.
            value: its value.
            drawn_at: the quantile that it was drawn by, perhaps in another space.
        """
        if name in self._choices:
            key = identity(value)
            return self._choices[name].index(key) if key in self._choices[name] else None
        distribution = self._distributions[name]
        if drawn_at is not None and 0 <= drawn_at <= 1 and distribution.at(drawn_at) == value:
            return drawn_at
        quantile = distribution.quantile_of(value)
        return quantile if quantile is None or math.isfinite(quantile) else None


def _has_several(distribution: Distribution) -> bool:
    values = distribution.values()
    return values is None or len(values) > 1
