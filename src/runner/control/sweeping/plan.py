"""What a sweep will take: rungs in steps, GPU hours and dollars; and which points of a grid do not fit."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.backends.base import ResolvedResources
from runner.control.launching.cost import estimate_cost
from runner.errors import UserError
from runner.planning.plan import Row, dollar_range, hours_range
from runner.recipe.recipe import Recipe
from runner.sweeps.definition import Definition
from runner.sweeps.search.random_search import RandomSearch
from runner.sweeps.space.space import Space
from runner.sweeps.views.forecast import RungForecast, forecast, total_steps

_DRAWS = 200
MOST_POINTS = 500
"""Points of a grid that are looked at one by one before the start."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep will take, if nothing fails."""

    rungs: Sequence[RungForecast]
    """Trials and steps by rung."""
    trials: int | None
    """How many are drawn; None: as many as the budget gives."""
    steps: int | None
    """Optimizer steps of all trials; None: not known before the training."""
    full_steps: int | None
    """Steps of as many trials that are all trained to their end."""
    row: Row | None
    """How one whole trial runs on the machines that are asked for; None: on this machine, or unknown."""
    rows: float = 1.0
    """Rows of a step, in the mean of the trials that may be drawn, over those of the recipe: steps are not equal."""

    @property
    def share(self) -> float | None:
        """Trained steps over those of as many whole trials."""
        return None if not self.full_steps or self.steps is None else self.steps / self.full_steps

    def hours(self, steps: int | None) -> tuple[float, float] | None:
        """Hours of a machine that so many steps take; None if unknown."""
        if self.row is None or self.row.time is None or steps is None or not self.row.time.steps:
            return None
        low, high = self.row.time.hours
        share = steps / self.row.time.steps * self.rows
        return low * share, high * share

    def cost(self, steps: int | None) -> tuple[float, float] | None:
        """US dollars that so many steps cost; None if unknown."""
        hours = self.hours(steps)
        if hours is None or self.row is None or self.row.price_per_hour is None:
            return None
        return hours[0] * self.row.price_per_hour, hours[1] * self.row.price_per_hour

    def lines(self) -> list[str]:
        """The plan for people, a line for each rung."""
        return [*(self._line(rung, number) for number, rung in enumerate(self.rungs)), *self._whole()]

    def _line(self, rung: RungForecast, number: int) -> str:
        last = number == len(self.rungs) - 1
        where = "its end" if rung.step is None else f"step {rung.step}"
        name = "end" if last else f"rung {number + 1}"
        trials = "as many trials as the budget gives" if self.trials is None else _trials(rung.trials)
        words = [f"{name}: {trials} to {where}"]
        if self.trials is not None and rung.steps is not None and len(self.rungs) > 1:
            words.append(f"{rung.steps:,} steps")
            words += self._money(rung.steps)
        return ", ".join(words)

    def _whole(self) -> list[str]:
        if self.trials is None or self.steps is None:
            return []
        words = [f"in all: {self.steps:,} steps", *self._money(self.steps)]
        if self.share is not None and self.share < 1:
            words.append(f"{self.share:.0%} of the {self.full_steps:,} steps of {self.trials:,} whole trials")
        return [", ".join(words)]

    def _money(self, steps: int) -> list[str]:
        hours, cost = self.hours(steps), self.cost(steps)
        return [*([hours_range(hours)] if hours else []), *([dollar_range(cost)] if cost else [])]


def _trials(count: int) -> str:
    return f"{count:,} {'trial' if count == 1 else 'trials'}"


def plan_sweep(
    definition: Definition, recipe: Recipe, space: Space, machines: ResolvedResources | None, *, trials: int | None
) -> SweepPlan:
    """Find out what a sweep will take.

    Args:
        definition: the sweep.
        recipe: with the settings of the whole sweep.
        space: what is drawn.
        machines: those of one trial; None for this machine, which costs nothing and whose speed nobody knows.
        trials: how many are drawn; None: as many as the budget gives.
    """
    rungs = forecast(definition, trials or 1)
    return SweepPlan(
        rungs=rungs,
        trials=trials,
        steps=None if trials is None else total_steps(rungs),
        full_steps=None if trials is None or definition.max_steps is None else trials * definition.max_steps,
        row=None if machines is None else estimate_cost(recipe, machines),
        rows=1.0 if machines is None else mean_rows(space, recipe, grid=definition.method == "grid"),
    )


def mean_rows(space: Space, recipe: Recipe, *, grid: bool) -> float:
    """Return the rows of a step in the mean of a sweep's trials, over those of the recipe; 1 where that is not known.

    Args:
        space: what is drawn.
        recipe: with the settings of the whole sweep.
        grid: whether the points of the grid are drawn, and not values at random.
    """
    base = _rows(recipe)
    if base is None:
        return 1.0
    points = space.grid() if grid else None
    if points is not None:
        drawn: list[Mapping[str, Any]] = [points.point(number) for number in range(min(points.size, MOST_POINTS))]
    else:
        search = RandomSearch(space, 0)
        draws = (search.draw(number, []) for number in range(_DRAWS))
        drawn = [draw.values for draw in draws if draw is not None]
    rows = [_rows(with_settings(recipe, space.settings(values))) for values in drawn]
    known = [count for count in rows if count is not None]
    return sum(known) / len(known) / base if known else 1.0


def _rows(recipe: Recipe) -> float | None:
    """Rows of a step on one device."""
    if recipe.stages:
        return None
    training = recipe.training
    if training.get("effective_batch_size") is not None:
        return float(training["effective_batch_size"])
    # The defaults of transformers' TrainingArguments.
    micro_batch, accumulation = training.get("per_device_train_batch_size"), training.get("gradient_accumulation_steps")
    return float((micro_batch or 8) * (accumulation or 1))


def points_that_do_not_fit(
    space: Space, recipe: Recipe, fits: Callable[[Recipe], str | None]
) -> list[tuple[Mapping[str, Any], str]]:
    """Return the points of a grid that run out of memory, and why; none for a grid that is too large to look at.

    Args:
        space: what is drawn.
        recipe: with the settings of the whole sweep.
        fits: says why a recipe does not fit the machines; None if it does.
    """
    grid = space.grid()
    if grid is None or grid.size > MOST_POINTS:
        return []
    unfit: list[tuple[Mapping[str, Any], str]] = []
    for number in range(grid.size):
        values = grid.point(number)
        reason = fits(with_settings(recipe, space.settings(values)))
        if reason is not None:
            unfit.append((values, reason))
    return unfit


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """A recipe with other settings in the sections that memory depends on, for an estimate: nothing is checked."""
    changed: dict[str, dict[str, Any] | None] = {}
    for path, value in settings.items():
        section, _, name = path.partition(".")
        if section not in ("training", "adapter", "model"):
            continue
        if not name:
            changed[section] = dict(value) if isinstance(value, dict) else None
            continue
        before = changed[section] if section in changed else dict(getattr(recipe, section) or {})
        if before is not None:
            changed[section] = before | {name: value}
    return dataclasses.replace(recipe, **changed)  # type: ignore[arg-type]


def refuse_if_nothing_fits(unfit: Sequence[tuple[Mapping[str, Any], str]], size: int, *, where: str) -> None:
    """Refuse a grid none of whose points fits.

    Raises:
        UserError: so it is.
    """
    if unfit and len(unfit) == size:
        raise UserError(
            f"none of the grid's {size} points fits: {unfit[0][1]}", where=where, remedy="ask for a larger GPU"
        )


def refuse_crowded_gpu(plan: SweepPlan, trials_per_gpu: int, *, where: str) -> None:
    """Refuse more trials on a GPU than its memory has room for, by the estimate of one.

    Raises:
        UserError: they do not fit.
    """
    if plan.row is None or trials_per_gpu == 1:
        return
    fit = plan.row.fit
    room = int(fit.capacity_gib // fit.memory_gib) if fit.memory_gib else trials_per_gpu
    if trials_per_gpu > room:
        raise UserError(
            f"a trial takes about {fit.memory_gib:.1f} of the {fit.capacity_gib:.0f} GiB of {fit.accelerators}: "
            f"{room} fit, and not {trials_per_gpu}",
            where=where,
            remedy=f"write `trials_per_gpu: {max(1, room)}`, or ask for a larger GPU",
        )
