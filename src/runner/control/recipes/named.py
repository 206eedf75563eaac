"""Find a recipe or a sweep by name, and copy it into the working directory with the files that it names."""

from pathlib import Path

from runner.errors import UserError
from runner.files import write_new_file
from runner.recipe.loading.finder import available_recipes, available_sweeps, find_recipe, read_recipe
from runner.recipe.loading.load import load_recipe


def find_any(name: str, cwd: Path) -> tuple[Path, bool]:
    """Return the file of a recipe or a sweep, and whether it is a sweep's. A recipe comes first.

    Raises:
        UserError: there is neither.
    """
    if name not in available_recipes(cwd) and name in (sweeps := available_sweeps(cwd)):
        return sweeps[name], True
    path = find_recipe(name, cwd)
    return path, path.parent.name == "sweeps"


def copy_recipe(path: Path, cwd: Path, *, is_sweep: bool) -> list[Path]:
    """Copy a recipe into ``jobs/`` of a folder (a sweep into ``jobs/sweeps/``), where its name finds it first.

    Files that it names and that are below its own folder go along, so that its relative paths stay right.

    Returns:
        The new files, the recipe first.

    Raises:
        UserError: one of them is there already, or cannot be read or written.
    """
    target = cwd / "jobs" / "sweeps" if is_sweep else cwd / "jobs"
    files = [path, *([] if is_sweep else _named_by(path, cwd))]
    places = {file: target / file.relative_to(path.parent) for file in files}
    for place in places.values():
        if place.exists():
            remedy = "it is the one that is launched by its name; change it, or move it away first"
            raise UserError("is there already", where=str(place.relative_to(cwd)), remedy=remedy)
    texts = {place: read_recipe(file, shown_as=str(file)) for file, place in places.items()}
    return [write_new_file(place, text) for place, text in texts.items()]


def _named_by(path: Path, cwd: Path) -> list[Path]:
    try:
        local = load_recipe(str(path), cwd=cwd).local_files
    except UserError:
        return []  # copied to be mended
    return [file for file in local if file.is_file() and file.is_relative_to(path.parent)]
