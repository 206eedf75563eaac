"""Rules for `resources:`."""

from collections.abc import Iterator

from runner.recipe.problems import Problem
from runner.recipe.rules.context import RuleContext, problem_at


def resources(context: RuleContext) -> Iterator[Problem]:
    """Refuse both settings of a pair of which SkyPilot accepts only one."""
    for first, second in (("any_of", "ordered"), ("accelerators", "gpus"), ("infra", "cloud")):
        if first in context.recipe.resources and second in context.recipe.resources:
            yield problem_at(f"resources.{second}", f"`{first}` is set as well", "keep one of the two")


def own_variables(context: RuleContext) -> Iterator[Problem]:
    """Refuse variables that tell an attempt which run it is of, and which values are secrets."""
    for key in ("envs", "secrets"):
        for name in context.recipe.sky.get(key) or ():
            if name.startswith("RUNNER_"):
                yield Problem(("sky", key, name), "variables that begin with RUNNER_ are runner's own", "leave it out")
