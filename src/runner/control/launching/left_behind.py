"""The local paths of a recipe that stay on this machine when its run goes to another one."""

from collections.abc import Callable

from runner.recipe.inputs.machine_paths import machine_paths
from runner.recipe.problems import Problem, RecipePath, warning_about
from runner.recipe.recipe import Recipe


def warnings_about_paths(recipe: Recipe, *, locate: Callable[[RecipePath], str]) -> list[str]:
    """Return a sentence for each path that has to be on the machines that a run goes to, and is not mounted there."""
    mounted = [str(target).rstrip("/") for target in recipe.sky.get("file_mounts") or {}]
    sentences: dict[str, str] = {}
    for at, name in machine_paths(recipe):
        if name in sentences or any(name == target or name.startswith(f"{target}/") for target in mounted):
            continue
        problem = Problem(
            at,
            f"{name} is only on this machine and is not copied: it has to be there, under this path",
            f"name one of the hub, or mount it: `sky: {{file_mounts: {{{name}: …}}}}`",
        )
        sentences[name] = warning_about(problem, locate(at))
    return list(sentences.values())
