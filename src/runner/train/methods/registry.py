"""Which script trains by which method: one each, and what it needs is imported with it only."""

from typing import Any, Protocol

from runner.recipe.recipe import Method
from runner.train.stages.context import StageContext
from runner.train.stages.steps import StageRun


class MethodScript(Protocol):
    """A method's script."""

    def build(self, context: StageContext) -> StageRun:
        """The stage's model, data and trainer, ready to train and to be measured."""

    def train(self, context: StageContext) -> dict[str, Any]:
        """Train the stage from where it stands to its artifacts; returns what the result says of it."""


def method_script(method: Method) -> MethodScript:
    """The method's script."""
    if method == "cpt":
        from runner.train.methods import cpt

        return cpt
    if method == "dpo":
        from runner.train.methods import dpo

        return dpo
    if method == "grpo":
        from runner.train.methods import grpo

        return grpo
    from runner.train.methods import sft

    return sft
