"""A folder with a recipe in it, and what comes of checking it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.loading.load import LoadedRecipe, load_recipe

Check = Callable[..., LoadedRecipe]
Refuse = Callable[..., UserError]

RECIPE = """\
# Learns to explain functions
name: tiny
method: sft
model: {model_name_or_path: builtin:tiny-llama}
data:
  train: [{path: builtin:python-docstrings}]
training:
  max_steps: 5
"""


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check a recipe's text (`RECIPE` by default) with ``--set`` overrides and flags, in `tmp_path`."""

    def checked(
        *overrides: str, text: str | bytes = RECIPE, flags: Mapping[str, Any] | None = None, file: str = "recipe.yaml"
    ) -> LoadedRecipe:
        path = tmp_path / file
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_recipe(file if "/" in file else f"./{file}", overrides=overrides, flags=flags, cwd=tmp_path)

    return checked


@pytest.fixture
def refuse(check: Check) -> Refuse:
    """The error that checking the same ends in."""

    def refused(*overrides: str, **arguments: Any) -> UserError:
        with pytest.raises(UserError) as caught:
            check(*overrides, **arguments)
        return caught.value

    return refused


def settings_of(error: UserError) -> Sequence[str]:
    """The settings that an error complains of."""
    from runner.recipe.problems import RecipeError, dotted_path

    assert isinstance(error, RecipeError), error
    return [dotted_path(problem.path) for problem in error.problems]
