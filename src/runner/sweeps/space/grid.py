"""The points of a grid, in W&B's order: parameters sorted by name, the last one varying fastest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.recipe.recipe import Json


@dataclass(frozen=True)
class Grid:
    """Every combination of the values of several parameters, each once."""

    values: Mapping[str, Sequence[Json]]
    """The values of each parameter, in the order of the parameters."""

    @property
    def size(self) -> int:
        """How many points there are."""
        return math.prod(len(values) for values in self.values.values())

    def point(self, index: int) -> dict[str, Json]:
        """Return a point's values by parameter.

        Raises:
            IndexError: there is no such point.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"the grid has {self.size} points, and {index} is not one of them")
        point: dict[str, Json] = {}
        for name, values in reversed(list(self.values.items())):
            index, position = divmod(index, len(values))
            point[name] = values[position]
        return {name: point[name] for name in self.values}
