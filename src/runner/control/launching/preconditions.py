"""What is checked before a run is launched or moved: that the hub has what it reads, and takes what it writes."""

from collections.abc import Callable, Mapping
from typing import Any

from runner.backends.base import Backend
from runner.control.export import require_exports
from runner.hub.check import check_hub_access, run_token
from runner.recipe.problems import RecipePath
from runner.recipe.recipe import Recipe


def require_hub_access(
    recipe: Recipe,
    export: Mapping[str, Any],
    backend: Backend,
    environment: Mapping[str, str],
    *,
    where: str,
    locate: Callable[[RecipePath], str],
    say: Callable[[str], None],
) -> None:
    """Make sure that what a recipe names can be read, and its exports made, by the run itself.

    Args:
        recipe: what is to run.
        export: the recipe's `export`, as ``run.json`` has it.
        backend: what will run it.
        environment: variables that the run is given by the caller.
        where: the recipe's file, or its run, for messages.
        locate: gives the place where a path of the recipe was written.
        say: receives a sentence if the hub does not answer.

    Raises:
        UserError: something does not exist, may not be read, or is not installed.
    """
    token = run_token(environment, here=backend.shares_environment)
    require_exports(export, token, here=backend.shares_environment)
    check_hub_access(recipe, token, where=where, locate=locate, say=say)
