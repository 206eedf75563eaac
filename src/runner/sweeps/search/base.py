"""What a search is told of earlier trials, and what it answers."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from runner.errors import UserError
from runner.sweeps.space.distributions import identity
from runner.sweeps.space.space import Space


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the search is told of one earlier trial. Pass every trial that was drawn, so that none is drawn twice."""

    trial: int
    """Its number from 0. What comes from other runs and sweeps (`--from`) has a number below zero."""
    values: Mapping[str, Any]
    """By the parameter's name."""
    quantiles: Mapping[str, float]
    """What the values were drawn by; empty if that is not known."""
    state: Literal["running", "complete", "infeasible", "failed"]
    """infeasible: it diverged or ran out of memory, so its values are bad. failed: it gave no result for a reason that
    says nothing of its values (machines, the store); nothing is learned from it."""
    step: int | None = None
    """The highest rung with a result; None if the sweep has no rungs: the trial's end."""
    value: float | None = None
    """The metric there. Lower is better: the caller turns the sign."""
    results: Mapping[int, float] = field(default_factory=dict)
    """The metric at each rung that it reached, by step, lower is better. Without it ``step`` and ``value`` stand for
    the rungs below as well."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The values of one trial."""

    values: Mapping[str, Any]
    """By the parameter's name."""
    quantiles: Mapping[str, float]
    """What the values were drawn by; empty for a point of a grid."""


class Search(Protocol):
    """Chooses the values of trials: a pure function of the space, the seed, the number and the set of ``seen``."""

    @property
    def looks_back(self) -> bool:
        """Whether ``seen`` matters; if not, it may be left empty."""

    def draw(self, number: int, seen: Sequence[Observation]) -> Draw | None:
        """Return the values of a trial; None if there is nothing left that was not drawn.

        Args:
            number: the trial's number, from 0.
            seen: the earlier trials, in any order.
        """


def quantile(seed: int, number: int, attempt: int, name: str) -> float:
    """Return the quantile in [0, 1) that one parameter of one trial is drawn by.

    It depends on nothing but the arguments, so that a trial stays what it is if other parameters or trials change.
    Python seeds by the text's SHA-512, on every machine and in every version alike
    (https://docs.python.org/3/library/random.html#random.seed).
    """
    return random.Random(f"{seed}/{number}/{attempt}/{name}").random()


def values_key(values: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same values, in whatever order the parameters come; 3.0 is 3."""
    return json.dumps({name: identity(value) for name, value in values.items()}, sort_keys=True)


def was_drawn(values: Mapping[str, Any], seen: Iterable[Observation]) -> bool:
    """Whether a trial already has these values. It would give the same result to the last bit."""
    # Comparing mappings is 20 times as fast as making keys, but takes 1 for True.
    return any(
        observation.values == values and values_key(observation.values) == values_key(values) for observation in seen
    )


def make_search(space: Space, *, method: str, seed: int) -> Search:
    """Return the search of a sweep.

    Args:
        space: what may be drawn.
        method: W&B's ``method``: random, grid or bayes.
        seed: the sweep's seed. Equal seeds draw equal trials.

    Raises:
        UserError: there is no such method, a parameter has no grid, or Optuna is not installed.
    """
    # Here, since each of these needs what this module has.
    from runner.sweeps.search.bayes import BayesSearch
    from runner.sweeps.search.grid_search import GridSearch
    from runner.sweeps.search.random_search import RandomSearch

    match method:
        case "random":
            return RandomSearch(space, seed)
        case "grid":
            return GridSearch(space)
        case "bayes":
            return BayesSearch(space, seed)
    raise UserError(f"there is no search `{method}`", where="method", remedy="write `random`, `grid` or `bayes`")
