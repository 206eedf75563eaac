"""Contradictions between settings of the resources section."""

from collections.abc import Iterator

from runner.recipe.problems import Problem
from runner.recipe.rules.context import Facts, problem_at


def resources(facts: Facts) -> Iterator[Problem]:
    """SkyPilot takes one of each pair."""
    for one, other in (("any_of", "ordered"), ("accelerators", "gpus"), ("infra", "cloud")):
        if one in facts.recipe.resources and other in facts.recipe.resources:
            yield problem_at(f"resources.{other}", f"`{one}` is there as well", "keep one of the two")
