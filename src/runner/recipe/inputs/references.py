"""References to models and data in a recipe: built in, a local file or folder, or on the hub."""

import itertools
import pathlib
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from runner.errors import UserError
from runner.recipe.inputs.content import require_content, require_uncompressed
from runner.recipe.inputs.local_rows import SUFFIXES
from runner.recipe.inputs.model_folder import check_model_folder
from runner.recipe.problems import show
from runner.recipe.suggestions import closest

BUILTIN_MODELS = ("tiny-llama",)
BUILTIN_DATA: Mapping[str, tuple[str, ...]] = {
    "python-docstrings": ("prompt", "completion"),
    "arithmetic": ("prompt", "answer"),
}
"""The text columns of each built-in dataset."""
SAVED_TO_DISK = ("state.json", "dataset_dict.json")
"""Files by which a folder of `Dataset.save_to_disk` or `DatasetDict.save_to_disk` is recognized."""
MAX_ENTRIES = 10_000
"""The most entries of a folder that are searched."""

_MAX_INSPECTED = 1000
"""The most files of a folder whose first bytes are read."""

Kind: TypeAlias = Literal["model", "data"]

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_INPUT = re.compile(r"inputs/[0-9a-f]{64}/[^/]+")
# Endings of files that a user may name as data but that runner does not read.
_OTHER_SUFFIXES = (
    ".arrow", ".bz2", ".doc", ".docx", ".feather", ".gz", ".htm", ".html", ".md", ".pdf", ".pickle", ".pkl",
    ".sqlite", ".tar", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip", ".zst",
)  # fmt: skip


def is_local(written: str) -> bool:
    """Whether a model's or dataset's name, once resolved, is a file or folder of this machine."""
    return pathlib.PurePath(written).is_absolute()


def resolve(written: str, base: pathlib.Path, kind: Kind) -> str:
    """Resolve a reference: hub ids and built-ins stay unchanged, a file or folder becomes its absolute path.

    A reference that looks like a file (``./``, ``../``, ``/``, ``~``, or a data file's ending) must exist. Any other is
    local if it exists, and a hub id if not.

    Args:
        written: the reference in the recipe.
        base: the folder for relative paths.
        kind: what it refers to.

    Raises:
        UserError: there is no such file or built-in, or it is not a valid reference.
    """
    if written.startswith("builtin:"):
        return _builtin(written, kind)
    if "\0" in written or "\n" in written:
        raise UserError("is neither a path nor a hub id")
    if kind == "data" and _INPUT.fullmatch(written):
        return written
    if "://" in written:
        raise UserError(
            f"`{written}` is a URL, and runner does not read URLs",
            remedy="write a hub id such as `user/name`, or a local path",
        )
    path = absolute(written, base)
    suffix = path.suffix.lower()
    if path.exists():
        _check(path, written, kind)
        return str(path)
    if path.is_symlink():
        raise UserError(
            f"`{written}` is a link to `{path.readlink()}`, which is not there",
            remedy="link to a file or folder that exists, or name that",
        )
    if any(sign in written for sign in "*?[") and not _HUB_ID.fullmatch(written):
        raise UserError(
            f"there is no file or folder `{written}`, and a path is no pattern",
            remedy="write one entry for each file, or the folder: all data files of one kind below it are read",
        )
    if written.startswith((".", "/", "~")) or (kind == "data" and suffix in (*SUFFIXES, *_OTHER_SUFFIXES)):
        raise UserError(f"there is no file or folder `{written}`", remedy=_nearest(path))
    if not _HUB_ID.fullmatch(written):
        raise UserError(
            f"`{written}` is not a hub id, and there is no such file or folder",
            remedy="write a hub id such as `user/name`, or a path such as `./train.jsonl`",
        )
    return written


def absolute(written: str, base: pathlib.Path) -> pathlib.Path:
    """Resolve a path. A link to a file keeps its own name, whose ending gives the file's type.

    Raises:
        UserError: it starts with an unknown user's home, or is not a valid path.
    """
    try:
        path = base / pathlib.Path(written).expanduser()
        if path.is_dir() or path.name == "..":
            return path.resolve()
        return path.parent.resolve() / path.name
    except (RuntimeError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{show(written)} cannot be read: {reason}", remedy="write the path out") from error


def first_data_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Return the first data file below a folder; None if there is none among the first `MAX_ENTRIES` entries."""
    entries = itertools.islice(folder.rglob("*"), MAX_ENTRIES)
    return min((path for path in entries if path.suffix.lower() in SUFFIXES and path.is_file()), default=None)


def _check(path: pathlib.Path, written: str, kind: Kind) -> None:
    if kind == "model":
        if not path.is_dir():
            raise UserError(f"`{written}` is a file", remedy="write the folder that holds the model's config.json")
        check_model_folder(path)
    elif not path.is_dir() and not path.is_file():
        raise UserError(f"`{written}` is not a regular file")
    elif path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"`{written}` is not a file that runner reads data from",
            remedy=f"convert it to one of: {', '.join(suffix[1:] for suffix in SUFFIXES)}",
        )
    else:
        _check_data(path)


def _check_data(path: pathlib.Path) -> None:
    """Refuse data files that are not what their names say: pointers of Git LFS, web pages, compressed text."""
    files = [path]
    if path.is_dir():
        entries = itertools.islice(path.rglob("*"), MAX_ENTRIES)
        found = (entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file())
        files = list(itertools.islice(found, _MAX_INSPECTED))
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        require_content(file, name=name, pages=file.suffix.lower() == ".txt")
        if file.suffix.lower() != ".parquet":
            require_uncompressed(file)


def _builtin(written: str, kind: Kind) -> str:
    name = written.removeprefix("builtin:")
    known, others = (BUILTIN_MODELS, tuple(BUILTIN_DATA)) if kind == "model" else (tuple(BUILTIN_DATA), BUILTIN_MODELS)
    if name in known:
        return written
    meant = closest(name, known)
    remedy = (
        f"did you mean `builtin:{meant}`?" if meant else f"there is: {', '.join(f'builtin:{name}' for name in known)}"
    )
    what = (
        f"`{written}` is not {'a model' if kind == 'model' else 'data'}"
        if name in others
        else f"there is no builtin {kind} `{name}`"
    )
    raise UserError(what, remedy=remedy)


def _nearest(path: pathlib.Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"relative paths begin at the recipe's file: looked for {path}"
    names = [entry.name for entry in sorted(folder.iterdir())[:1000]]
    meant = closest(path.name, names, likeness=0.75)
    return f"did you mean `{meant}`?" if meant else f"relative paths begin at the recipe's file: looked for {path}"
