"""Write a file whole or not at all: under a name of its own first, then renamed into place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".runner-part-"
"""How the name of a file begins that is still being written; what a kill leaves behind is known by it."""


@contextmanager
def atomic_write(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A free name beside `path` to write to; it replaces `path` when the block ends well, and is gone otherwise.

    Args:
        path: where the file is to be; folders above it are made.
        sync: whether it must survive a power cut once this returns.
    """
    part = temporary_path(path)
    try:
        yield part
        if sync:
            fsync(part)
        part.replace(path)
        if sync:
            fsync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """A name beside `path`, in the same file system, that nobody else uses; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{PART}{os.urandom(8).hex()}")


def fsync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
