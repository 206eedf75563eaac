"""Plan a recipe: on which GPUs and clouds it runs, how long that takes and what it costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from runner.fit.accelerators import ACCELERATORS, Accelerator
from runner.fit.fit import Fit, fit_workload, workloads, worst_fit
from runner.fit.row_lengths import RowLengths
from runner.fit.throughput import Time, estimate_time, spot_overhead, total_time
from runner.fit.workload import Workload
from runner.planning.prices import Offer, Prices, cheapest_offers
from runner.recipe.recipe import Recipe

COUNTS = (1, 2, 4, 8)
"""GPUs per machine that are tried if the user does not say."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to run a recipe, or why it does not fit."""

    fit: Fit
    """How it runs on these GPUs."""
    infra: str | None
    """SkyPilot's name of the cloud; None if no offer is known, or it does not fit."""
    region: str | None
    instance_type: str | None
    spot: bool
    """Whether the price is that of a spot machine."""
    price_per_hour: float | None
    """Dollars for all machines together."""
    time: Time | None
    """How long it takes, including preemptions on spot; None if it does not fit."""

    @property
    def cost(self) -> tuple[float, float] | None:
        """(low, high) in dollars."""
        if self.price_per_hour is None or self.time is None:
            return None
        return self.price_per_hour * self.time.hours[0], self.price_per_hour * self.time.hours[1]

    def as_json(self) -> dict[str, Any]:
        """Return what `plan --json` prints for this row."""
        fit = self.fit
        return {
            "accelerators": fit.accelerators,
            "infra": self.infra,
            "region": self.region,
            "instance_type": self.instance_type,
            "nodes": fit.nodes,
            "fits": fit.fits,
            "reason": fit.reason,
            "notes": [*fit.notes, *(self.time.assumptions if self.time else ())],
            "memory_gib": fit.memory_gib,
            "memory": None if fit.memory is None else dict(fit.memory.as_gib()),
            "capacity_gib": fit.capacity_gib,
            "micro_batch": fit.micro_batch,
            "accumulation": fit.accumulation,
            "devices": fit.devices,
            "strategy": fit.strategy,
            "precision": fit.precision,
            "attn_implementation": fit.attn_implementation,
            "gradient_checkpointing": fit.gradient_checkpointing,
            "settings": dict(fit.settings),
            "spot": self.spot,
            "price_per_hour": None if self.price_per_hour is None else round(self.price_per_hour, 4),
            "steps": None if self.time is None else self.time.steps,
            "hours": None if self.time is None else [round(hours, 2) for hours in self.time.hours],
            "cost": None if self.cost is None else [round(dollars, 2) for dollars in self.cost],
        }


def plan(
    recipe: Recipe,
    config: Mapping[str, Any],
    prices: Prices,
    *,
    wanted: Sequence[tuple[Accelerator, int]] = (),
    nodes: int = 1,
    spot: bool = False,
    lengths: Sequence[RowLengths | None] = (),
) -> list[Row]:
    """Return every way to run a recipe: those that fit, by cost, then those that do not.

    Args:
        config: the model's `config.json`.
        wanted: GPUs and their numbers. Empty: every known GPU, with the smallest number that fits and is offered.
        nodes: number of machines.
        spot: use spot machines; clouds without them are planned on demand.
        lengths: how long each stage's training rows are, as far as that is known.

    Raises:
        UserError: the model cannot be planned, or does not have the adapter's targets.
    """
    works = workloads(recipe, config, lengths)

    @cache
    def fits(name: str, count: int) -> tuple[Fit, ...]:
        return tuple(fit_workload(work, ACCELERATORS[name], devices=count, nodes=nodes) for work in works)

    rows = [
        row
        for accelerator, count in (wanted or _smallest(fits, prices))
        for row in _rows(works, fits(accelerator.name, count), accelerator, prices, spot=spot)
    ]
    return sorted(rows, key=_order)


def _smallest(fits: Callable[[str, int], Sequence[Fit]], prices: Prices) -> Iterator[tuple[Accelerator, int]]:
    """Yield each GPU with the smallest number of it that fits and is offered.

    If no number fits: the largest if memory is the reason, else the smallest.
    """
    for accelerator in ACCELERATORS.values():
        offered = [count for count in COUNTS if prices.of(accelerator.name, count)] or [1]
        for count in offered:
            candidate = worst_fit(fits(accelerator.name, count))
            if candidate.fits or not candidate.is_too_large:
                break
        yield accelerator, count


def _rows(
    works: Sequence[Workload], fits: Sequence[Fit], accelerator: Accelerator, prices: Prices, *, spot: bool
) -> Iterator[Row]:
    fitted = worst_fit(fits)
    if not fitted.fits:
        yield _row(fitted, None, None, spot=False)
        return
    offers = cheapest_offers(prices.of(accelerator.name, fitted.devices), spot=spot)
    time = total_time(
        [estimate_time(work, stage_fit, accelerator) for work, stage_fit in zip(works, fits, strict=True)]
    )
    for offer in offers:
        on_spot = spot and offer.spot is not None
        overhead = spot_overhead(works[0].recipe.checkpoint.save_minutes) if on_spot else 1.0
        paid = Time(
            steps=time.steps,
            hours=(time.hours[0] * overhead, time.hours[1] * overhead),
            assumptions=time.assumptions,
        )
        yield _row(fitted, offer, paid, spot=on_spot)
    if not offers:
        yield _row(fitted, None, time, spot=False)


def _row(fitted: Fit, offer: Offer | None, time: Time | None, *, spot: bool) -> Row:
    price = None if offer is None else (offer.spot if spot else offer.price)
    return Row(
        fit=fitted,
        infra=None if offer is None else offer.infra,
        region=None if offer is None else offer.region,
        instance_type=None if offer is None else offer.instance_type,
        spot=spot,
        price_per_hour=None if price is None else price * fitted.nodes,
        time=time,
    )


def _order(row: Row) -> tuple[int, float]:
    if not row.fit.fits:
        return 2, 0.0
    if row.cost is None:
        return 1, 0.0
    return 0, row.cost[0] * row.cost[1]


def plan_line(row: Row) -> str:
    """Return a row in one sentence, as `launch` prints it before it starts."""
    fit = row.fit
    if not fit.fits:
        return f"{fit.accelerators}: does not fit: {fit.reason}"
    machines = f"{fit.nodes} x {fit.accelerators}" if fit.nodes > 1 else fit.accelerators
    where = f" on {row.infra}{' (spot)' if row.spot else ''}" if row.infra else ""
    words = [f"{machines}{where}: {fit.reason}", f"about {fit.memory_gib:.1f} of {fit.capacity_gib:.0f} GiB"]
    if row.time is not None:
        words.append(f"{hours_range(row.time.hours)}, {row.time.steps} steps")
    if row.cost is not None:
        words.append(f"{dollar_range(row.cost)} at ${row.price_per_hour:.2f}/h")
    return "; ".join(words)


def hours_range(hours: tuple[float, float]) -> str:
    """Format a range of hours: ``10-40 min``, ``1.2-4 h``."""
    low, high = hours
    if high < 1.5:
        return f"{max(1, round(low * 60))}-{max(2, round(high * 60))} min"
    return f"{_short(low)}-{_short(high)} h"


def dollar_range(dollars: tuple[float, float]) -> str:
    """Format a range of dollars: ``$0.05-0.20``, ``$12-48``."""
    low, high = dollars
    digits = 2 if high < 10 else 0
    return f"${low:.{digits}f}-{high:.{digits}f}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
