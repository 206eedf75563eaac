"""The points of a grid, one after another."""

from collections.abc import Sequence

from runner.errors import UserError
from runner.sweeps.search.base import Draw, Observation, values_key
from runner.sweeps.space.space import Space


class GridSearch:
    """Draws the points of the space's grid in its order, without those that were drawn.

    Trial n is the grid's point n. If the space was changed, or other sweeps' trials count, the points that they have
    are left out.

    Raises:
        UserError: a parameter has no grid.
    """

    def __init__(self, space: Space) -> None:
        grid = space.grid()
        if grid is None:
            raise UserError(str(space.why_no_grid()), where="method", remedy="write `method: random`, or `values`")
        self._grid = grid
        self._keys: list[str] = []  # of the points, as far as they were looked at

    @property
    def looks_back(self) -> bool:
        """Yes: other sweeps' points are left out."""
        return True

    def draw(self, number: int, seen: Sequence[Observation]) -> Draw | None:
        """Return the values of a trial; None if every point was drawn: see ``Search.draw``."""
        drawn = {values_key(observation.values) for observation in seen}
        # Trials between that `seen` does not name are being drawn as well, from the same points.
        ahead = number - len({observation.trial for observation in seen if 0 <= observation.trial < number})
        for index in range(self._grid.size):
            if index == len(self._keys):
                self._keys.append(values_key(self._grid.point(index)))
            if self._keys[index] in drawn:
                continue
            if ahead == 0:
                return Draw(values=self._grid.point(index), quantiles={})
            ahead -= 1
        return None
