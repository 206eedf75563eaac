"""What a launch may cost, from the plan's row for its machines, and asking before it costs more than a limit."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.backends.base import ResolvedResources
from runner.backends.registry import ANY
from runner.errors import UserError
from runner.fit.accelerators import Accelerator, find_accelerator
from runner.hub.model_config import model_config
from runner.planning.measure import measure_rows
from runner.planning.plan import Row, plan, plan_line
from runner.planning.prices import load_prices
from runner.recipe.recipe import Recipe


def estimate_cost(recipe: Recipe, machines: ResolvedResources) -> Row | None:
    """Return the cheapest way to run a recipe on the machines that are asked for; None if nothing is known of them."""
    wanted: list[tuple[Accelerator, int]] = []
    for name, count in (machines.accelerators or {}).items():
        try:
            accelerator = find_accelerator(name)
        except UserError:
            continue  # SkyPilot offers GPUs that `fit` knows nothing about
        if count >= 1 and count == int(count):
            wanted.append((accelerator, int(count)))
    if not wanted:
        return None
    try:
        config = model_config(recipe)
        spot = bool(machines.resources.get("use_spot"))
        lengths = [measure_rows(stage) for stage in recipe.in_order]
        rows = plan(recipe, config, load_prices(), wanted=wanted, nodes=machines.num_nodes, spot=spot, lengths=lengths)
    except UserError:
        return None  # the launch itself says what is wrong with the model
    clouds = {infra.strip().partition("/")[0] for infra in machines.infra.split(",")}
    offered = [row for row in rows if row.fit.fits and (ANY in clouds or row.infra in clouds)]
    return offered[0] if offered else None


VARIABLE = "RUNNER_ASK_ABOVE"
"""Names the variable with the limit."""

DEFAULT_DOLLARS = 10.0
"""Asks above this, unless `RUNNER_ASK_ABOVE` says otherwise."""


def ask_above(environment: Mapping[str, str]) -> float:
    """Return the cost in dollars above which to ask; ``inf`` for never.

    Raises:
        UserError: `RUNNER_ASK_ABOVE` is not an amount.
    """
    text = environment.get(VARIABLE, "").strip().removeprefix("$")
    if not text:
        return DEFAULT_DOLLARS
    try:
        dollars = float(text)
    except ValueError:
        dollars = -1.0
    if not dollars >= 0:
        raise UserError(
            f"{text!r} is not an amount of dollars",
            where=VARIABLE,
            remedy="write a number such as 20, or inf to never ask",
        )
    return dollars


@dataclass(frozen=True, kw_only=True)
class CostQuestion:
    """What is asked before a launch that may cost more than the limit."""

    plan: str
    """The plan's line: the machines, the time, the cost."""
    cost: tuple[float, float]
    """The least and the most dollars that it may cost."""
    limit: float
    """The limit, in dollars."""

    @property
    def text(self) -> str:
        """The question itself."""
        return f"That may cost more than ${self.limit:g}. Launch it?"


Confirm = Callable[[CostQuestion], bool]
"""Answers a question; it may raise instead of answering."""


def has_to_ask(cost: tuple[float, float] | None, *, limit: float) -> bool:
    """Whether a launch may cost more than the limit. A cost that is not known is no reason to ask."""
    return cost is not None and cost[1] > limit


def confirm_cost(recipe: Recipe, machines: ResolvedResources, *, confirm: Confirm, say: Callable[[str], None]) -> None:
    """Say the plan's line, and ask if it may cost more than `RUNNER_ASK_ABOVE`. Says nothing if nothing is known.

    Raises:
        UserError: the answer was no, or `RUNNER_ASK_ABOVE` is not an amount.
    """
    limit = ask_above(os.environ)
    row = estimate_cost(recipe, machines)
    if row is None:
        return
    line = plan_line(row)
    say(f"plan: {line}")
    if row.cost is not None and has_to_ask(row.cost, limit=limit):
        question = CostQuestion(plan=line, cost=row.cost, limit=limit)
        if not confirm(question):
            raise UserError(
                f"not launched: it may cost more than ${limit:g}",
                where=VARIABLE,
                remedy="ask for other machines, or raise the limit",
            )
