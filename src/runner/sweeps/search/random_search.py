"""Values at random, each trial by quantiles of its own."""

from collections.abc import Sequence

from runner.sweeps.search.base import Draw, Observation, quantile, was_drawn
from runner.sweeps.space.space import Space

ATTEMPTS = 1000
"""After so many draws in a row that earlier trials have already, a space counts as exhausted. A space of 100 points is
found whole with a probability of 0.996."""


class RandomSearch:
    """Draws by quantiles from W&B's distributions.

    Trial n depends on the seed and n alone, whatever else happened; only values that another trial has already are
    drawn again, since training them twice gives the same twice. That happens in spaces of few points.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._names = [parameter.name for parameter in space.drawn]
        self._seed = seed
        self._looks_back = all(parameter.distribution.values() is not None for parameter in space.parameters)

    @property
    def looks_back(self) -> bool:
        """Only where the points can be counted: elsewhere no two trials are the same."""
        return self._looks_back

    def draw(self, number: int, seen: Sequence[Observation]) -> Draw | None:
        """Return the values of a trial; None if nothing was found that was not drawn: see ``Search.draw``."""
        for attempt in range(ATTEMPTS):
            quantiles = {name: quantile(self._seed, number, attempt, name) for name in self._names}
            values = self._space.values_at(quantiles)
            if not self._looks_back or not was_drawn(values, seen):
                return Draw(values=values, quantiles=quantiles)
        return None
