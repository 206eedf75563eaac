"""The script of each training method, imported when asked for."""

from typing import Any, Protocol

from runner.recipe.recipe import Method
from runner.train.stages.context import StageContext
from runner.train.stages.steps import StageRun


class MethodScript(Protocol):
    """A method's script."""

    def build(self, context: StageContext) -> StageRun:
        """Return the stage's model, data and trainer, ready to train and to be measured."""

    def train(self, context: StageContext) -> dict[str, Any]:
        """Train the stage, from its checkpoint if it has one, and commit its artifacts; return its result."""


def method_script(method: Method) -> MethodScript:
    """Return the method's script."""
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
