"""Answering questions: about a launch's cost, and whether to go on with a failed run. On a terminal the person does."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runner.errors import UserError

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


def ask_to_go_on(*, yes: bool) -> "Callable[[str], bool]":
    """Return what answers whether to go on with a failed run; a program has said so by asking for it.

    The answer no raises `click.Abort`.

    Args:
        yes: ``--yes`` was given: do not ask.
    """

    def confirm(question: str) -> bool:
        if not yes and sys.stdin.isatty():
            click.confirm(question, abort=True, err=True)
        return True

    return confirm


def ask_before_deleting(question: str, *, yes: bool, command: str) -> None:
    """Ask whether to delete. What is deleted is gone, so a program has to say that it means it.

    The answer no raises `click.Abort`.

    Args:
        question: what is asked.
        yes: ``--yes`` was given: do not ask.
        command: for the message.

    Raises:
        UserError: nobody can be asked, and ``--yes`` was not given.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(
            "nobody can be asked whether to delete: standard input is not a terminal",
            where=command,
            remedy="`--yes` deletes without asking; `--dry-run` shows what",
        )
    click.confirm(question, abort=True, err=True)
