"""A checkpoint that several processes write: each uploads its files and lists them, and one makes them a whole.

The list is a key of the writer's own below the checkpoint's folder. No list says anything to a reader: the manifest,
which the first process writes when all lists are there, is still the one thing that makes a checkpoint.
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
    """One of the processes has given its part of a checkpoint up: there will be none of this name."""


def part_key(prefix: str, rank: int) -> str:
    """Where the process `rank` lists its files of the checkpoint under `prefix`."""
    return f"{prefix}part-{rank:05d}.json"


def commit_part(store: Store, prefix: str, rank: int, files: Mapping[str, Path] | None) -> None:
    """Upload one process's files, then list them. May be called again after a failure.

    Args:
        store: where to.
        prefix: the checkpoint's key, with a slash at its end.
        rank: which process this is.
        files: where each lies, by its name in the manifest; None: it gives its part up.

    Raises:
        StoreUnavailable, StoreFull, UserError: from the store.
    """
    entries = upload_files(store, prefix, files or {})
    part = Manifest(tuple(entries), {"rank": rank, "left_out": files is None})
    create_ours(store, part_key(prefix, rank), part.to_json())


def wait_for_parts(
    store: Store, prefix: str, ranks: Iterable[int], *, until: Callable[[], bool]
) -> Sequence[ManifestFile]:
    """The files of all other processes, once they have listed them.

    Args:
        store: where from.
        prefix: the checkpoint's key, with a slash at its end.
        ranks: the other processes.
        until: asked between two looks; once it is true, there is no more waiting.

    Raises:
        PartLeftOut: a process has given up.
        StoreUnavailable: they were not there when `until` had become true, or the store is away.
        Damaged: a list cannot be read.
    """
    found: list[ManifestFile] = []
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
            found += part.files
            break
    return found
