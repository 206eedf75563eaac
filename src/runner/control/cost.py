"""What a launch to SkyPilot is expected to come to: the plan's row for the machines that it asks for."""

from collections.abc import Mapping

from runner.backends.skypilot.resources import ANY, ResolvedResources
from runner.errors import UserError
from runner.fit.accelerators import Accelerator, find_accelerator
from runner.hub.model_config import model_config
from runner.planning.plan import Row, plan
from runner.planning.prices import load_prices
from runner.recipe.recipe import Recipe


def estimate_cost(recipe: Recipe, machines: ResolvedResources) -> Row | None:
    """The cheapest way to run a recipe on the machines that are asked for; None: nothing can be said of any of them.

    Args:
        recipe: what is launched.
        machines: what SkyPilot is asked for.
    """
    wanted: list[tuple[Accelerator, int]] = []
    for name, count in (machines.accelerators or {}).items():
        try:
            accelerator = find_accelerator(name)
        except UserError:
            continue  # SkyPilot has more of them than there are facts here
        if count >= 1 and count == int(count):
            wanted.append((accelerator, int(count)))
    if not wanted:
        return None
    try:
        config = model_config(recipe)
        spot = bool(machines.resources.get("use_spot"))
        rows = plan(recipe, config, load_prices(), wanted=wanted, nodes=machines.num_nodes, spot=spot)
    except UserError:
        return None  # the launch itself says what is wrong with the model
    clouds = {one.strip().partition("/")[0] for one in machines.infra.split(",")}
    offered = [row for row in rows if row.fit.fits and (ANY in clouds or row.infra in clouds)]
    return offered[0] if offered else None


VARIABLE = "RUNNER_ASK_ABOVE"


DEFAULT_DOLLARS = 10.0
"""Asks above this, unless `RUNNER_ASK_ABOVE` says otherwise."""


def ask_above(environment: Mapping[str, str]) -> float:
    """The cost in dollars above which is asked; ``inf`` for never.

    Raises:
        UserError: `RUNNER_ASK_ABOVE` is no amount.
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
            f"{text!r} is no amount of dollars", where=VARIABLE, remedy="write a number such as 20, or inf to never ask"
        )
    return dollars


def has_to_ask(cost: tuple[float, float] | None, *, limit: float, yes: bool, terminal: bool) -> bool:
    """Whether to ask before launching.

    Args:
        cost: the least and the most dollars; None: nothing is known, which is no reason to ask.
        limit: from `ask_above`.
        yes: ``--yes`` was given.
        terminal: whether somebody sits there to answer; a program is never asked.
    """
    return cost is not None and cost[1] > limit and not yes and terminal
