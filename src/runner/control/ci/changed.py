"""Which recipes a change is about: their own file, or a file of this machine that they name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from runner.control.recipes.warm_start import start_resolver
from runner.errors import UserError
from runner.git import changed_files
from runner.recipe.loading.load import load_recipe


def changed_recipes(recipes: Sequence[str], before: str | None, *, cwd: Path, say: Callable[[str], None]) -> list[str]:
    """Return those of the recipes that have changed since a commit; all, if the commit is not known.

    Data and reward functions beside a recipe count as the recipe does. Of a recipe that cannot be read, its file
    counts: its launch says what is wrong.

    Args:
        recipes: their files.
        before: the commit; None: there was none.
        cwd: a folder of the repository.
        say: receives a sentence if all are returned.
    """
    changed = None if before is None else changed_files(cwd, before)
    if changed is None:
        why = "there is no commit to compare with" if before is None else f"git does not know the commit {before} here"
        say(f"{why}, so that all recipes count as changed")
        return list(recipes)
    places = {file.resolve() for file in changed}
    return [recipe for recipe in recipes if any(_concerns(file, places) for file in _files(recipe, cwd))]


def _files(recipe: str, cwd: Path) -> list[Path]:
    file = cwd / recipe
    try:
        return [file, *load_recipe(str(file), cwd=cwd, start=start_resolver()).local_files]
    except UserError:
        return [file]


def _concerns(file: Path, changed: set[Path]) -> bool:
    place = file.resolve()
    return any(place == each or place in each.parents for each in changed)
