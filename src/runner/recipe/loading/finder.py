"""Find recipes by name: in the working directory's ``jobs/``, then among those that ship with the package.

Sweeps are found alike, in ``jobs/sweeps/``.
"""

import pathlib

from runner.errors import UserError
from runner.recipe.suggestions import closest

MAX_BYTES = 1024 * 1024
"""The largest recipe file. A recipe names its data and does not contain it."""
_SUFFIXES = (".yaml", ".yml")


def bundled_recipes_folder() -> pathlib.Path:
    """Return the folder of the shipped recipes: in the package of a wheel, ``jobs/`` beside ``src/`` in a checkout."""
    package = pathlib.Path(__file__).resolve().parents[2]
    inside = package / "jobs"
    return inside if inside.is_dir() else package.parents[1] / "jobs"


def available_recipes(cwd: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return the file of each recipe by name. The working directory's recipes hide shipped ones."""
    return _files_by_name(cwd / "jobs", bundled_recipes_folder())


def available_sweeps(cwd: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return the file of each sweep by name. The working directory's sweeps hide shipped ones."""
    return _files_by_name(cwd / "jobs" / "sweeps", bundled_recipes_folder() / "sweeps")


def find_recipe(name_or_path: str, cwd: pathlib.Path) -> pathlib.Path:
    """Return the file of a recipe.

    Args:
        name_or_path: ``quickstart``, or a path, which contains a slash or ends in ``.yaml`` or ``.yml``.
        cwd: relative paths start here, and its ``jobs/`` is searched first.

    Raises:
        UserError: there is no such recipe; the remedy suggests the most similar name.
    """
    return _find(name_or_path, cwd, available_recipes(cwd), "recipe")


def find_sweep(name_or_path: str, cwd: pathlib.Path) -> pathlib.Path:
    """Return the file of a sweep, as `find_recipe` does a recipe's.

    Raises:
        UserError: there is no such sweep; the remedy suggests the most similar name.
    """
    return _find(name_or_path, cwd, available_sweeps(cwd), "sweep")


def read_recipe(path: pathlib.Path, *, shown_as: str) -> str:
    """Return the text of a recipe's file.

    Raises:
        UserError: it cannot be read, is larger than `MAX_BYTES`, or is not UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=shown_as) from error
    if len(content) > MAX_BYTES:
        raise UserError(
            "is larger than 1 MiB, which is too large for a recipe",
            where=shown_as,
            remedy="keep data in its own files and name them under `data:`",
        )
    if b"\0" in content:
        raise UserError("is not a text file", where=shown_as, remedy="give a recipe: YAML in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError("is not UTF-8 text", where=f"{shown_as}:{line}", remedy="save it as UTF-8") from error


def description(text: str) -> str:
    """Return a recipe's first comment line; empty if it does not begin with a comment."""
    for line in text.splitlines():
        comment = line.strip()
        if comment.startswith("#"):
            comment = comment.lstrip("#").strip()
            if comment and not comment.startswith("yaml-language-server:"):
                return comment
        elif comment and comment != "---":
            break
    return ""


def _files_by_name(*folders: pathlib.Path) -> dict[str, pathlib.Path]:
    found: dict[str, pathlib.Path] = {}
    for folder in folders:
        try:
            files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
        except OSError:
            continue
        for path in files:
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def _find(name_or_path: str, cwd: pathlib.Path, available: dict[str, pathlib.Path], kind: str) -> pathlib.Path:
    if not name_or_path or "\0" in name_or_path:
        remedy = "`runner jobs` lists the available recipes" if kind == "recipe" else "write a name or a path"
        raise UserError(f"that is not the name of a {kind}", remedy=remedy)
    if _is_path(name_or_path):
        try:
            path = cwd / pathlib.Path(name_or_path).expanduser()
        except RuntimeError as error:
            raise UserError(str(error), where=name_or_path, remedy="write the path out") from error
        return _existing(path, name_or_path, available, kind)
    if name_or_path in available:
        return available[name_or_path]
    beside = cwd / name_or_path
    if _exists(beside):
        return _existing(beside, name_or_path, available, kind)
    raise UserError(f"there is no such {kind}", where=_cut(name_or_path), remedy=_suggestion(name_or_path, available))


def _existing(path: pathlib.Path, written: str, available: dict[str, pathlib.Path], kind: str) -> pathlib.Path:
    try:
        if path.is_file():
            return path.absolute()
        if path.is_dir():
            raise UserError(f"is a folder, not a {kind}", where=written, remedy=_suggestion(path.name, _beside(path)))
        if path.exists():
            raise UserError("is not a regular file", where=written, remedy="give a YAML file")
        remedy = _suggestion(path.stem, _beside(path.parent) or available)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=_cut(written)) from error
    raise UserError("there is no such file", where=_cut(written), remedy=remedy)


def _beside(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    if not folder.is_dir():
        return {}
    return {str(path): path for path in sorted(folder.iterdir())[:1000] if path.suffix in _SUFFIXES}


def _suggestion(name: str, candidates: dict[str, pathlib.Path]) -> str:
    names = {path.stem: written for written, path in candidates.items()}
    if meant := closest(name, names):
        return f"did you mean `{names[meant]}`?"
    if names:
        return f"available: {', '.join(list(names.values())[:8])}"
    return "`runner jobs` lists the available recipes"


def _is_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith(("~", ".")) or text.endswith(_SUFFIXES)


def _exists(path: pathlib.Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _cut(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."
