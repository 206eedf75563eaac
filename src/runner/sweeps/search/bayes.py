"""Values that Optuna's TPE suggests from the results so far. Optuna suggests and does nothing else.

For each trial a study in memory is made anew from what the sweep knows, and asked once; no storage, pruner or state of
Optuna's is kept. With the sampler seeded by (sweep seed, trial number), a suggestion is a pure function of the space,
the seed, the number and the set of results. What TPE is told:

- Each numeric parameter as its quantile, a float in [0, 1], so that every distribution of W&B's is meant exactly and is
  itself the prior, as in PriorBand (https://arxiv.org/abs/2306.12370); each categorical as unordered choices.
- The results of one rung: the highest that at least ``ENOUGH`` trials reached. A model on too low a rung is far worse
  than none: on LCBench's curves it needed three times the compute. Trials without a result there are running ones,
  which TPE keeps away from ("constant liar").
- Trials that diverged or ran out of memory as infeasible, which TPE ranks behind all others, without a value
  (https://arxiv.org/abs/2211.14411 for the idea; Optuna's ``_split_trials`` for what is done). Never what machines did.

Trials are drawn at random until a rung has ``ENOUGH`` results, and one in ``RANDOM_SHARE`` ever after, as BOHB does
(https://arxiv.org/abs/1807.01774), so that a model which is wrong cannot spoil the whole sweep.
"""

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from runner.distribution import install_command
from runner.errors import UserError
from runner.sweeps.search.base import Draw, Observation, values_key, was_drawn
from runner.sweeps.search.random_search import RandomSearch
from runner.sweeps.search.representation import Point, Representation
from runner.sweeps.space.space import Space

ENOUGH = 10
"""Results that a rung needs before TPE models it: Optuna's own `n_startup_trials`."""
RANDOM_SHARE = 4
"""One in so many trials is drawn at random, whatever was found."""
ATTEMPTS = 8
"""Suggestions in a row that earlier trials have already, before a trial is drawn at random."""


class BayesSearch:
    """Draws what Optuna's TPE suggests.

    Raises:
        UserError: Optuna is not installed.
    """

    def __init__(self, space: Space, seed: int) -> None:
        if find_spec("optuna") is None:
            raise UserError(
                "`method: bayes` needs Optuna, which is not installed",
                where="method",
                remedy=f"{install_command('sweep')}, or write `method: random`, which needs nothing",
            )
        self._representation = Representation(space)
        self._random = RandomSearch(space, seed)
        self._seed = seed

    @property
    def looks_back(self) -> bool:
        """Yes."""
        return True

    def draw(self, number: int, seen: Sequence[Observation]) -> Draw | None:
        """Return the values of a trial; None if nothing was found that was not drawn: see ``Search.draw``."""
        if number % RANDOM_SHARE != RANDOM_SHARE - 1 and self._representation.names:
            facts = _facts(self._representation, seen)
            for attempt in range(ATTEMPTS if facts else 0):
                point = _suggest(self._representation, facts, _sampler_seed(self._seed, number, attempt))
                quantiles = self._representation.quantiles(point)
                values = self._representation.values(quantiles)
                if not was_drawn(values, seen):
                    return Draw(values=values, quantiles=quantiles)
        return self._random.draw(number, seen)


@dataclass(frozen=True)
class _Fact:
    """One trial as Optuna is told of it."""

    point: Point
    is_infeasible: bool
    value: float | None
    """None: there is no result (yet)."""


def _facts(representation: Representation, seen: Sequence[Observation]) -> list[_Fact]:
    """Return what to tell, in an order that the order of ``seen`` does not matter for; nothing if it is not enough."""
    points = [
        (observation, point)
        for observation in seen
        if observation.state != "failed" and (point := representation.point(observation)) is not None
    ]
    # TPE breaks ties by the order and weighs the newest 25 of the bad trials most.
    points.sort(key=lambda pair: (pair[0].trial, values_key(pair[0].values), sorted(_results(pair[0]).items())))
    rung = _rung([observation for observation, _ in points])
    if rung is None:
        return []
    facts = [
        _Fact(point, observation.state == "infeasible", _value_at(observation, rung)) for observation, point in points
    ]
    return _without_most_infeasible(facts)


def _without_most_infeasible(facts: list[_Fact]) -> list[_Fact]:
    """Leave out the first infeasible trials if they are more than nine times as many as results.

    TPE calls the best tenth of all trials good: with more, that tenth would hold infeasible ones.
    """
    most = 9 * sum(fact.value is not None for fact in facts)
    infeasible = [index for index, fact in enumerate(facts) if fact.is_infeasible]
    left_out = set(infeasible[: max(0, len(infeasible) - most)])
    return [fact for index, fact in enumerate(facts) if index not in left_out]


def _results(observation: Observation) -> dict[float, float]:
    """Return a trial's finite results by step; the last is at infinity if the sweep has no rungs."""
    results: dict[float, float] = {step: value for step, value in observation.results.items() if math.isfinite(value)}
    if observation.value is not None and math.isfinite(observation.value):
        results[math.inf if observation.step is None else observation.step] = observation.value
    return results if observation.state != "infeasible" else {}


def _value_at(observation: Observation, rung: float) -> float | None:
    """Return a trial's result at a rung. A trial that went on, whose result there is not known, has the next one."""
    results = _results(observation)
    return next((results[step] for step in sorted(results) if step >= rung), None)


def _rung(observations: Sequence[Observation]) -> float | None:
    """Return the highest rung that enough trials reached."""
    furthest = sorted(
        (max(results) for observation in observations if (results := _results(observation))), reverse=True
    )
    return furthest[ENOUGH - 1] if len(furthest) >= ENOUGH else None


def _sampler_seed(seed: int, number: int, attempt: int) -> int:
    """Return a seed of 32 bits, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}/{attempt}".encode()).digest()[:4])


def _suggest(representation: Representation, facts: Sequence[_Fact], sampler_seed: int) -> Point:
    """Ask Optuna once."""
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.trial import FrozenTrial, TrialState, create_trial

    distributions: dict[str, BaseDistribution] = {}
    for name in representation.names:
        choices = representation.choices(name)
        # Indices, since Optuna wants choices to be scalars and W&B has maps and lists as well.
        distributions[name] = FloatDistribution(0, 1) if choices is None else CategoricalDistribution(range(choices))

    def told(fact: _Fact) -> FrozenTrial:
        if fact.is_infeasible:
            state, constraints = TrialState.PRUNED, {"infeasible": 1.0}
        else:
            state, constraints = TrialState.RUNNING if fact.value is None else TrialState.COMPLETE, None
        return create_trial(
            state=state, value=fact.value, params=fact.point, distributions=distributions, constraints=constraints
        )

    with _quiet():
        study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=sampler_seed))
        study.add_trials([told(fact) for fact in facts])
        return dict(study.ask(distributions).params)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's logger from announcing each study on stderr; its level is put back."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
