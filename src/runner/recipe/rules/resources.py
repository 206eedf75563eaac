"""Contradictions between settings of the resources section."""

from collections.abc import Iterator

from runner.recipe.problems import Problem
from runner.recipe.rules.context import RuleContext, problem_at


def resources(context: RuleContext) -> Iterator[Problem]:
    """SkyPilot takes one of each pair."""
    for one, other in (("any_of", "ordered"), ("accelerators", "gpus"), ("infra", "cloud")):
        if one in context.recipe.resources and other in context.recipe.resources:
            yield problem_at(f"resources.{other}", f"`{one}` is there as well", "keep one of the two")
