"""What a sweep will train if nothing fails: trials and steps by rung, before anything starts."""

from dataclasses import dataclass

from runner.sweeps.definition import Definition
from runner.sweeps.halving import SuccessiveHalving, make_hyperband


@dataclass(frozen=True, kw_only=True)
class RungForecast:
    """One rung, or the end of the training."""

    step: int | None
    """Its step; None for an end that is not known before the training."""
    trials: int
    """How many trials come to it."""
    steps: int | None
    """Optimizer steps of all of them from the rung before; None where the end is not known."""


def forecast(definition: Definition, trials: int) -> list[RungForecast]:
    """Return the rungs, the lowest first. A trial that is stopped by a rule of W&B's is forecast as one of `eta`.

    Args:
        definition: the sweep.
        trials: how many are drawn.
    """
    ends: list[int | None] = [*definition.rungs, definition.max_steps]
    counts = _counts(definition, trials)
    result = []
    for number, end in enumerate(ends):
        steps = None
        if end is not None:
            steps = sum(
                count * (end - (0 if number == first else ends[number - 1] or 0))
                for first, count in counts[number].items()
            )
        result.append(RungForecast(step=end, trials=sum(counts[number].values()), steps=steps))
    return result


def total_steps(rungs: list[RungForecast]) -> int | None:
    """Optimizer steps of all trials; None if the end of a trial is not known."""
    return None if any(rung.steps is None for rung in rungs) else sum(rung.steps or 0 for rung in rungs)


def _counts(definition: Definition, trials: int) -> list[dict[int, int]]:
    """How many trials come to each rung, by the rung that they began with."""
    rungs = len(definition.rungs) + 1
    if rungs == 1:
        return [{0: trials}]
    rule = (
        make_hyperband(rungs=rungs, eta=definition.eta, run_cap=trials)
        if definition.scheduler == "hyperband"
        else SuccessiveHalving(rungs=rungs, eta=definition.eta, sizes=(trials,))
    )
    counts: list[dict[int, int]] = [{} for _ in range(rungs)]
    for first, size in zip(rule.firsts, rule.sizes, strict=True):
        for number in range(first, rungs):
            counts[number][first] = size
            size = rule.places(size)
    return counts
