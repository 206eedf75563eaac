"""Whether the place where a run will be has the packages that its recipe's settings need."""

from collections.abc import Callable

from runner.recipe.packages import is_installed, missing_packages
from runner.recipe.problems import Problem, RecipeError, RecipePath, warning_about
from runner.recipe.recipe import Recipe


def require_packages(
    recipe: Recipe, *, here: bool, own_image: bool, where: str, locate: Callable[[RecipePath], str]
) -> list[str]:
    """Refuse settings that need a package which is surely missing; return warnings about those that may lack one.

    Args:
        recipe: what is to run.
        here: whether it runs in this machine's Python.
        own_image: whether it runs in an image that the user has named, of which nothing is known.
        where: the recipe's file, for messages.
        locate: gives the place where a path of the recipe was written.

    Raises:
        UserError: a package is missing.
    """
    problems = missing_packages(recipe, is_installed if here else lambda module: False)
    unsure = own_image or bool(recipe.sky.get("setup"))
    refused = [problem for problem in problems if not unsure and not (here and _is_optional(problem))]
    if refused:
        raise RecipeError(refused, locate, where=where)
    return [warning_about(problem, locate(problem.path)) for problem in problems]


def _is_optional(problem: Problem) -> bool:
    """Whether a run on this machine may do without: Liger's kernels are not used on a CPU."""
    return problem.path[-1] == "use_liger_kernel"
