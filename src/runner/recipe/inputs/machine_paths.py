"""The local paths of a recipe that are opened where they are, and do not travel with its run."""

from pathlib import Path
from typing import Any

from runner.recipe.inputs.references import is_local
from runner.recipe.problems import RecipePath
from runner.recipe.recipe import Recipe

_FILES = ("chat_template_path", "accelerator_config")
"""Settings under `training:` whose file the libraries open themselves."""


def machine_paths(recipe: Recipe) -> list[tuple[RecipePath, str]]:
    """Return the local paths that a recipe names and that are not copied, each with its place in the recipe.

    Single files of data, reward files and DeepSpeed's configuration travel with the run. Folders, and the files that
    the libraries open themselves, do not.
    """
    found: list[tuple[RecipePath, str]] = []

    def add(at: RecipePath, name: Any) -> None:
        if isinstance(name, str) and is_local(name):
            found.append((at, name))

    add(("model", "model_name_or_path"), recipe.model["model_name_or_path"])
    add(("export", "base"), recipe.export.base)
    for index, stage in enumerate(recipe.stages or (recipe,)):
        place: RecipePath = ("stages", index) if recipe.stages else ()
        for section, sources in (("train", stage.data.train), ("eval", stage.data.eval)):
            for entry, source in enumerate(sources):
                if is_local(source.path) and Path(source.path).is_dir():
                    add((*place, "data", section, entry, "path"), source.path)
        for key in _FILES:
            add((*place, "training", key), stage.training.get(key))
    return found
