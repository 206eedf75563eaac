"""A checkpoint that several processes write: each uploads its files and lists them, and one commits them together.

Each process stores its list under its own key in the checkpoint's folder. Readers ignore the lists: only the manifest,
which the first process writes when all lists exist, makes the folder a checkpoint.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from runner.storage.commit import upload_files
from runner.storage.manifest import Manifest, ManifestFile
from runner.storage.store import NotFound, Store, StoreUnavailable, create_ours

_FIRST_LOOK_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 2.0


class PartLeftOut(Exception):
    """A process has given up its part of a checkpoint, so this checkpoint will never be complete."""


def part_key(prefix: str, rank: int) -> str:
    """Return the key of the list that process `rank` writes for the checkpoint under `prefix`."""
    return f"{prefix}part-{rank:05d}.json"


def commit_part(store: Store, prefix: str, rank: int, files: Mapping[str, Path] | None) -> None:
    """Upload one process's files, then list them. May be called again after a failure.

    Args:
        prefix: key of the checkpoint's folder, ends with "/".
        rank: this process's.
        files: local paths, by name in the manifest. None if this process gives up its part.

    Raises:
        StoreUnavailable, StoreFull, UserError: from the store.
    """
    entries = upload_files(store, prefix, files or {})
    part = Manifest(tuple(entries), {"rank": rank, "left_out": files is None})
    create_ours(store, part_key(prefix, rank), part.to_json())


def wait_for_parts(
    store: Store, prefix: str, ranks: Iterable[int], *, until: Callable[[], bool]
) -> Sequence[ManifestFile]:
    """Wait until the processes `ranks` have listed their files, and return these.

    Args:
        prefix: key of the checkpoint's folder, ends with "/".
        ranks: the other processes.
        until: asked between two looks; once it is true, stop waiting.

    Raises:
        PartLeftOut: a process has given up.
        StoreUnavailable: a list was still missing when `until` became true, or the store is unavailable.
        Damaged: a list cannot be read.
    """
    files: list[ManifestFile] = []
    pause = _FIRST_LOOK_SECONDS
    for rank in ranks:
        while True:
            try:
                part = Manifest.parse(store.get(part_key(prefix, rank)))
            except NotFound:
                if until():
                    raise StoreUnavailable(f"process {rank} has not uploaded its part of {prefix}") from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
                continue
            if part.metadata["left_out"]:
                raise PartLeftOut(f"process {rank} has left {prefix} out")
            files += part.files
            break
    return files
