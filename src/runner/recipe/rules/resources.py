"""Rules for `resources:`."""

from collections.abc import Iterator

from runner.recipe.problems import Problem
from runner.recipe.rules.context import RuleContext, problem_at


def resources(context: RuleContext) -> Iterator[Problem]:
    """Refuse both settings of a pair of which SkyPilot accepts only one."""
    for first, second in (("any_of", "ordered"), ("accelerators", "gpus"), ("infra", "cloud")):
        if first in context.recipe.resources and second in context.recipe.resources:
            yield problem_at(f"resources.{second}", f"`{first}` is set as well", "keep one of the two")
