"""Check recipes without launching them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.control.launching.packages import missing_extras, require_packages
from runner.control.launching.taken_along import describe_code_and_files, missing_webhooks
from runner.control.recipes.warm_start import start_resolver
from runner.errors import UserError
from runner.fit.accelerators import accelerator_warnings
from runner.recipe.loading.load import LoadedRecipe, load_recipe
from runner.recipe.problems import RecipeError, dotted_path, warning_about


@dataclass(frozen=True, kw_only=True)
class CheckedRecipe:
    """What was found out about a recipe."""

    recipe: str
    """The name or path that was asked for."""
    loaded: LoadedRecipe | None = None
    """The recipe, if it is valid."""
    error: UserError | None = None
    """What is wrong with it, otherwise."""
    warnings: Sequence[str] = ()
    """What is hardly meant, and refused by nothing."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on the first rows of local data (those that will be dropped, columns that are not read), and on the
        code and the files that the recipe brings."""
        if self.loaded is None:
            return ()
        return [*self.loaded.notes, *describe_code_and_files(self.loaded.recipe, self.loaded.local_files)]

    def as_json(self) -> dict[str, Any]:
        """The same as ``runner check --json`` lists it."""
        if self.loaded is None:
            assert self.error is not None
            return {"recipe": self.recipe, "ok": False, "problems": _problems(self.error)}
        recipe = self.loaded.recipe
        return {
            "recipe": self.recipe,
            "ok": True,
            "path": str(self.loaded.path),
            "name": recipe.name,
            "method": recipe.methods,
            "model": recipe.model["model_name_or_path"],
            "data_sources": sum(len(stage.data.train) for stage in recipe.in_order),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def check_recipe_named(
    recipe: str, *, overrides: Sequence[str], online: bool, cwd: Path, say: Callable[[str], None]
) -> CheckedRecipe:
    """Check one recipe; nothing is written or downloaded.

    Args:
        recipe: a name or a path.
        overrides: ``KEY=VALUE`` each.
        online: whether the Hugging Face hub is asked for the models and data that the recipe names.
        cwd: where relative paths begin.
        say: receives a sentence if the hub does not answer.
    """
    try:
        loaded = load_recipe(recipe, overrides=overrides, cwd=cwd, start=start_resolver())
        own_image = loaded.recipe.resources.get("image_id") is not None
        warnings = require_packages(
            loaded.recipe, here=True, own_image=own_image, where=str(loaded.path), locate=loaded.locate
        )
        extras = [warning_about(problem, loaded.locate(problem.path)) for problem in missing_extras(loaded.recipe)]
        warnings += accelerator_warnings(loaded.recipe.resources)
        warnings += missing_webhooks(loaded, os.environ)
        warnings += extras  # no mistake: the image has them, and so may the machine where it will run
        if online:
            from runner.hub.check import check_hub_access, run_token  # here: offline, a check is quick

            check_hub_access(
                loaded.recipe,
                run_token({}, here=True),
                where=str(loaded.path),
                locate=loaded.locate,
                say=lambda sentence: say(f"{recipe}: {sentence}"),
            )
    except UserError as error:
        return CheckedRecipe(recipe=recipe, error=error)
    return CheckedRecipe(recipe=recipe, loaded=loaded, warnings=[*loaded.warning_sentences, *warnings])


def _problems(error: UserError) -> list[dict[str, str | None]]:
    if not isinstance(error, RecipeError):
        return [{"setting": None, "where": error.where, "what": error.what, "remedy": error.remedy}]
    return [
        {"setting": dotted_path(problem.path) or None, "where": place, "what": problem.what, "remedy": problem.remedy}
        for problem, place in zip(error.problems, error.places, strict=True)
    ]
