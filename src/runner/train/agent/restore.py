"""The checkpoint that an attempt goes on from: the newest complete one on the lineage, verified byte for byte."""

from collections.abc import Callable
from pathlib import Path

from runner.runs.checkpoint_files import missing_files
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.lineage import checkpoints
from runner.storage.commit import fetch, read_manifest
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store


def restore_newest(
    store: Store, run_id: str, folder: Path, *, warn: Callable[[str], None]
) -> tuple[CheckpointName, Path] | None:
    """Download the newest checkpoint that is complete, and verify it.

    Args:
        store: the store that holds the run.
        run_id: the run's id.
        folder: where the checkpoint's folder is put.
        warn: called with a sentence for each checkpoint that is passed over.

    Returns:
        Its name and its folder on this machine; None if there is none.

    Raises:
        StoreUnavailable: the store does not answer.
        OSError: the local disk is full, for example.
    """
    for name in checkpoints(store, run_id):
        target = folder / str(name)
        prefix = checkpoint_prefix(run_id, name)
        try:
            manifest = read_manifest(store, prefix)
            missing = missing_files(
                (file.name for file in manifest.files),
                world_size=int(manifest.metadata.get("world_size", 1)),
                zero_stage=int(manifest.metadata.get("zero_stage", 0)),
            )
            if missing:
                raise Damaged(missing[0], "is missing")
            fetch(store, prefix, target)
        except (Damaged, NotFound) as error:
            warn(f"checkpoint {name} cannot be used ({error}); trying the one before")
            continue
        return name, target
    return None
