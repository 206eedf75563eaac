"""Write a file completely or not at all: to a temporary name first, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.paths import make_folder

PART = ".runner-part-"
"""Prefix of a file that is still being written. A file with it that a killed process left behind can be deleted."""


@contextmanager
def atomic_write(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` if the block succeeds, and is deleted otherwise.

    Args:
        path: the folders above it are created.
        sync: whether the file must survive a power cut after the block.
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
    """Return an unused path beside `path`, in the same file system. Creates the folders above it."""
    make_folder(path.parent)
    return path.with_name(f"{PART}{os.urandom(8).hex()}")


def fsync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
