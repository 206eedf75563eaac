"""Saying what a launch is expected to cost, and asking before it does."""

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runner.backends.skypilot.resources import ResolvedResources
    from runner.recipe.recipe import Recipe


def confirm_cost(recipe: "Recipe", machines: "ResolvedResources", *, yes: bool) -> None:
    """Say the plan's line, and ask if it may cost more than `RUNNER_ASK_ABOVE`. Says nothing where nothing is known.

    Args:
        recipe: what is launched.
        machines: what SkyPilot is asked for.
        yes: ``--yes`` was given.

    Raises:
        click.Abort: the answer was no.
        UserError: `RUNNER_ASK_ABOVE` is no amount.
    """
    from runner.control.cost import ask_above, estimate_cost, has_to_ask
    from runner.planning.plan import plan_line

    limit = ask_above(os.environ)
    row = estimate_cost(recipe, machines)
    if row is None:
        return
    click.echo(f"plan: {plan_line(row)}", err=True)
    if has_to_ask(row.cost, limit=limit, yes=yes, terminal=sys.stdin.isatty()):
        click.confirm(f"That may cost more than ${limit:g}. Launch it?", abort=True, err=True)
