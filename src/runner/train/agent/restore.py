"""The checkpoint that an attempt goes on from: the newest complete one on the lineage, verified byte for byte.

One that an earlier attempt had to leave on this machine, because the store was away or refused it for too long, is
committed first, as that attempt's.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.runs.attempts import Claim, Superseded, fence
from runner.runs.checkpoints.files import RUNNER_STATE, TRAINER_STATE, missing_files
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.checkpoints.origins import extended_checkpoint, extension, require_digest
from runner.runs.layout import CheckpointName, checkpoint_prefix, chunk_key
from runner.runs.records import run_document
from runner.storage.atomic import atomic_write
from runner.storage.commit import commit, fetch, read_manifest
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store, create_ours

_log = logging.getLogger(__name__)

KEPT = "saved"
"""The folder, in a run's folder on a machine, of a checkpoint that did not reach the store."""


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


def restore_extended(store: Store, run_id: str, folder: Path) -> tuple[int, Path] | None:
    """Download the checkpoint of another run that this one goes on from (`runner extend`), as one of a run amid it.

    What says that training is over is taken back, and early stopping counts afresh.

    Args:
        store: the store that holds both runs.
        run_id: the run.
        folder: where the checkpoint's folder is put.

    Returns:
        The step and the folder on this machine; None if the run extends none.

    Raises:
        Damaged: the other run has it no more as it was when this run was launched.
        StoreUnavailable: the store does not answer.
        OSError: the local disk is full, for example.
    """
    try:
        lineage = extension(run_document(store, run_id))
    except NotFound:
        return None  # the training process says what is missing
    origin = None if lineage is None else extended_checkpoint(lineage)
    if lineage is None or origin is None:
        return None
    other, name = origin
    prefix = checkpoint_prefix(other, name)
    target = folder / f"of-{other}" / str(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        require_digest(store, prefix, lineage.get("digest"))
        fetch(store, prefix, target)
    except NotFound as error:
        raise Damaged(prefix, f"it is gone, and {run_id} goes on from it") from error
    state = json.loads((target / RUNNER_STATE).read_text())
    _rewrite(target / RUNNER_STATE, {**state, "complete": False, "finished_early": False})
    trainer_state = json.loads((target / TRAINER_STATE).read_text())
    for callback in trainer_state.get("stateful_callbacks", {}).values():
        attributes = callback.get("attributes", {}) if isinstance(callback, dict) else {}
        if "early_stopping_patience_counter" in attributes:
            attributes["early_stopping_patience_counter"] = 0
    _rewrite(target / TRAINER_STATE, trainer_state)
    return name.step, target


def _rewrite(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a file; not in place, since it may be a link to the store's own."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(document, indent=2))


def write_kept(folder: Path, *, number: int, metadata: Mapping[str, Any], metrics: Mapping[int, str]) -> None:
    """Write down what `commit_kept` needs besides the checkpoint's files.

    Args:
        folder: holds the files; named after the checkpoint.
        number: the attempt's.
        metadata: the manifest's further fields.
        metrics: the metric records that the store does not have, by the number of their chunk.
    """
    record = {"number": number, "metadata": dict(metadata), "metrics": dict(metrics)}
    with atomic_write(folder.with_name(f"{folder.name}.json")) as part:
        part.write_text(json.dumps(record))


def commit_kept(store: Store, run_id: str, kept: Path) -> None:
    """Commit the checkpoints that an earlier attempt has left in `kept`, unless a newer attempt has begun elsewhere.

    Raises:
        StoreUnavailable: the store does not answer; they stay where they are.
    """
    for file in sorted(kept.glob("*.json")):
        folder = file.with_suffix("")
        try:
            record = json.loads(file.read_text())
            name = CheckpointName.parse(folder.name)
            if name is None:
                continue
            claim = Claim(run_id, int(record["number"]), name.token)
            fence(store, claim)
            for sequence, text in record["metrics"].items():
                if not create_ours(store, chunk_key(run_id, "metrics", name.token, int(sequence)), text.encode()):
                    raise Superseded("its metrics were written by another process")
            files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
            prefix = checkpoint_prefix(run_id, name)
            commit(store, prefix, files, record["metadata"], before_manifest=lambda claim=claim: fence(store, claim))  # type: ignore[misc]
        except (Superseded, KeyError, ValueError, FileNotFoundError) as error:
            _log.warning("checkpoint %s, left on this machine, is of no use any more: %s", folder.name, error)
        except OSError as error:
            _log.warning("checkpoint %s, left on this machine, could not be read or stored: %s", folder.name, error)
            continue
        else:
            _log.info("step %d, which was left on this machine, is in the store now", name.step)
        file.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
