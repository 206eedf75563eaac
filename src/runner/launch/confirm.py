"""Whether a person is asked before money is spent: only on a terminal, and only above a cost that can be set."""

from collections.abc import Mapping

from runner.errors import UserError

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
