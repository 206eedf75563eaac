"""Which script trains by which method: one each, and what it needs is imported with it only."""

from typing import Any, Protocol

from runner.spec.recipe import Method
from runner.train.context import Context
from runner.train.course import Course


class Script(Protocol):
    """A method's script."""

    def prepared(self, context: Context) -> Course:
        """The stage's model, data and trainer, ready to train and to be measured."""

    def train(self, context: Context) -> dict[str, Any]:
        """Train the stage from where it stands to its artifacts; returns what the result says of it."""


def script_of(method: Method) -> Script:
    """The method's script."""
    if method == "cpt":
        from runner.train import cpt

        return cpt
    if method == "dpo":
        from runner.train import dpo

        return dpo
    if method == "grpo":
        from runner.train import grpo

        return grpo
    from runner.train import sft

    return sft
