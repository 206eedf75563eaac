"""Answering the question about a launch's cost: on a terminal, the person there does."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm, CostQuestion


def ask_on_terminal(*, yes: bool) -> "Confirm":
    """Return what answers the question; a program (standard input is not a terminal) is never asked.

    The answer no raises `click.Abort`.

    Args:
        yes: ``--yes`` was given: do not ask.
    """

    def confirm(question: "CostQuestion") -> bool:
        if not yes and sys.stdin.isatty():
            click.confirm(question.text, abort=True, err=True)
        return True

    return confirm
