"""Asking before money is spent."""

import os
import sys

import click


def confirm_cost(line: str, cost: tuple[float, float] | None, *, yes: bool) -> None:
    """Say what is going to happen, and ask if it may cost more than `RUNNER_ASK_ABOVE`.

    Args:
        line: the plan in a sentence (`runner.launch.plan.plan_line`).
        cost: the least and the most dollars; None: not known.
        yes: ``--yes`` was given.

    Raises:
        click.Abort: the answer was no.
        UserError: `RUNNER_ASK_ABOVE` is no amount.
    """
    from runner.launch.confirm import ask_above, has_to_ask

    click.echo(line, err=True)
    limit = ask_above(os.environ)
    if has_to_ask(cost, limit=limit, yes=yes, terminal=sys.stdin.isatty()):
        click.confirm(f"That may cost more than ${limit:g}. Launch it?", abort=True, err=True)
