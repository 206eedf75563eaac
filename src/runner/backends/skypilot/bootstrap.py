"""What a machine without our image needs to run runs: runner's own source, the locks, and the script that installs."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from runner import __version__
from runner.distribution import NAME
from runner.errors import UserError
from runner.paths import cache_folder, make_folder

_PACKAGE = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).with_name("setup.sh")


def setup_folder() -> Path:
    """The folder that is sent along, made if it is not there. Its name follows its contents, so it never changes.

    Raises:
        UserError: the cache cannot be written.
    """
    files = dict(_files())
    digest = blake3()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    folder = cache_folder() / "setup" / digest.hexdigest()[:16]
    if folder.is_dir():
        return folder
    try:
        make_folder(folder.parent)
        making = Path(tempfile.mkdtemp(dir=folder.parent))
        for name, content in files.items():
            path = making / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        making.chmod(0o755)
        try:
            making.rename(folder)
        except OSError:  # another process has just made it
            shutil.rmtree(making)
    except OSError as error:
        remedy = "make room there, or point XDG_CACHE_HOME to a folder that you may write to"
        raise UserError(f"cannot be written: {error.strerror}", where=str(folder), remedy=remedy) from error
    return folder


def shown(folder: Path) -> str:
    """The folder as a task names it: from the home folder on, where it is there."""
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) and "HOME" in os.environ else str(folder)


def _files() -> Iterator[tuple[str, bytes]]:
    """Each file's name and contents, in a fixed order."""
    for path in sorted(_PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"source/runner/{path.relative_to(_PACKAGE)}", path.read_bytes()
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {__version__}\n"
    yield f"source/{NAME.replace('-', '_')}-{__version__}.dist-info/METADATA", metadata.encode()
    for name in ("cpu.lock", "cuda.lock", "torch.lock"):
        yield name, (_locks() / name).read_bytes()
    yield "setup.sh", _SCRIPT.read_bytes()


def _locks() -> Path:
    """The folder of the locks: inside the package in a wheel, ``images/`` beside ``src/`` in a checkout."""
    inside = _PACKAGE / "images"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "images"
