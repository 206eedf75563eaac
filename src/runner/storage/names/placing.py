"""Where what comes from a store is written on this machine: inside its folder, whatever a name or a link says.

Whoever can write to a store chooses the names of artifacts and of their files. Each is checked when it is read
(`is_relative_name`), and again here, right before the write: only then is it known which folders are links.
"""

from collections.abc import Iterable
from pathlib import Path

from runner.errors import UserError
from runner.storage.atomic import PART
from runner.storage.manifest import Damaged, is_relative_name


def place(folder: Path, name: str) -> Path:
    """Return where `name` is to be written below `folder`; the folders above it are made.

    Raises:
        Damaged: no file can have this name.
        UserError: a link in `folder` leads out of it.
        OSError: a folder cannot be made.
    """
    _check_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    inside = folder.resolve()
    at = folder
    for part in name.split("/")[:-1]:
        at = at / part
        if at.is_symlink() and not at.resolve().is_relative_to(inside):
            raise UserError(
                f"is a link that leads out of {folder}",
                where=str(at),
                remedy="Remove the link, or name another folder.",
            )
        at.mkdir(exist_ok=True)
    return path


def check_names(names: Iterable[str]) -> None:
    """Refuse names that cannot all be files of one folder, on any file system.

    Raises:
        Damaged: no file can have one of them, or two differ only in case, so that one would overwrite the other.
    """
    seen: dict[str, str] = {}
    for name in names:
        _check_name(name)
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            known = seen.setdefault(path.casefold(), path)
            if known != path:
                raise Damaged(path, f"differs only in case from {known}")


def _check_name(name: str) -> None:
    if not is_relative_name(name):
        raise Damaged(ascii(name), "no file can have this name")
    if any(part.startswith(PART) for part in name.split("/")):
        raise Damaged(name, f"a name that begins with {PART} is that of a file that is still being written")
