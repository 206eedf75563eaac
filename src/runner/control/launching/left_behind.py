"""The local paths of a recipe that stay on this machine when its run goes to another one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.recipe.inputs.references import is_local
from runner.recipe.problems import Problem, RecipePath, warning_about
from runner.recipe.recipe import Recipe

_FILES = ("chat_template_path", "accelerator_config")
"""Settings under `training:` whose file the libraries open themselves."""


def left_behind(recipe: Recipe) -> list[tuple[RecipePath, str]]:
    """Return the paths that are not copied, each with its place in the recipe.

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


def warnings_about_paths(recipe: Recipe, *, locate: Callable[[RecipePath], str]) -> list[str]:
    """Return a sentence for each path that has to be on the machines that a run goes to, and is not mounted there."""
    mounted = [str(target).rstrip("/") for target in recipe.sky.get("file_mounts") or {}]
    sentences: dict[str, str] = {}
    for at, name in left_behind(recipe):
        if name in sentences or any(name == target or name.startswith(f"{target}/") for target in mounted):
            continue
        problem = Problem(
            at,
            f"{name} is only on this machine and is not copied: it has to be there, under this path",
            f"name one of the hub, or mount it: `sky: {{file_mounts: {{{name}: …}}}}`",
        )
        sentences[name] = warning_about(problem, locate(at))
    return list(sentences.values())
