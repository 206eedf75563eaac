"""Temporary files that killed writers have left in a folder store."""

import contextlib
import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runner.storage.atomic import PART
from runner.storage.local import LocalStore
from runner.storage.store import check_prefix

if TYPE_CHECKING:
    from runner.storage.leftovers.find import Leftover


def unfinished(store: LocalStore, prefix: str) -> "list[Leftover]":
    """The temporary files below a folder. Links are not followed."""
    from runner.storage.leftovers.find import Leftover

    found = []
    for above, _, names in os.walk(store.root / check_prefix(prefix)):
        for name in names:
            if not name.startswith(PART):
                continue
            path = Path(above, name)
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    written = datetime.fromtimestamp(status.st_mtime, UTC)
                    key = path.relative_to(store.root).as_posix()
                    found.append(Leftover(kind="upload", key=key, size=status.st_size, written_at=written, handle=""))
    return sorted(found, key=lambda leftover: leftover.key)


def delete(store: LocalStore, leftovers: "Iterable[Leftover]") -> None:
    """Delete the files, and the folders that become empty."""
    for leftover in leftovers:
        path = store.root / leftover.key
        path.unlink(missing_ok=True)
        folder = path.parent
        with contextlib.suppress(OSError):  # not empty, or gone
            while folder != store.root:
                folder.rmdir()
                folder = folder.parent
