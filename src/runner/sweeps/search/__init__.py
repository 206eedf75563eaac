"""Which values the next trial gets: at random, from the grid, or as Optuna suggests."""

from collections.abc import Callable

from runner.errors import UserError
from runner.sweeps.search.base import Search
from runner.sweeps.search.bayes import BayesSearch
from runner.sweeps.search.grid_search import GridSearch
from runner.sweeps.search.random_search import RandomSearch
from runner.sweeps.space.space import Space

SEARCHES: dict[str, Callable[[Space, int], Search]] = {"random": RandomSearch, "grid": GridSearch, "bayes": BayesSearch}
"""W&B's `method` to its search."""


def make_search(space: Space, *, method: str, seed: int) -> Search:
    """Return the search of a sweep.

    Args:
        space: what may be drawn.
        method: W&B's ``method``.
        seed: the sweep's seed. Equal seeds draw equal trials.

    Raises:
        UserError: there is no such method, a parameter has no grid, or Optuna is not installed.
    """
    if method not in SEARCHES:
        raise UserError(
            f"there is no search `{method}`", where="method", remedy=f"write one of {', '.join(sorted(SEARCHES))}"
        )
    return SEARCHES[method](space, seed)
