"""Make what a warm start starts from (``model: {run: …}``): artifacts of this run, of another run's model.

It is as if this run were a stage after the other: the same adapter settings go on with its adapter; others, or none,
start from its model, with base and adapter merged.
"""

import logging
from functools import partial
from pathlib import Path

from runner.recipe.recipe import Recipe, continues_adapter
from runner.runs.checkpoints.origins import require_digest
from runner.runs.layout import CheckpointName, checkpoint_prefix, run_key
from runner.runs.record_types.run import StartRecord
from runner.runs.records import run_result
from runner.storage.manifest import Damaged
from runner.train.export.save import save_merged
from runner.train.stages.context import AttemptContext
from runner.train.stages.first_start import START_ADAPTER, START_MODEL, copy_files
from runner.train.stages.prepare import start_from
from runner.train.stored_model import reading_attempt, save_checkpoint, stored_model

logger = logging.getLogger(__name__)


def make_start(attempt: AttemptContext, recipe: Recipe, digest: str | None) -> StartRecord:
    """Make artifacts of the other run's model, or of its adapter and the model that this belongs to.

    Args:
        attempt: the attempt that starts.
        recipe: the run's; its model names the other run and its checkpoint.
        digest: of what is taken from there, as it was at the launch; None: any.

    Raises:
        UserError, NotFound, Damaged: the other run's model is not there as it was at the launch.
    """
    store, run_id = attempt.store, str(recipe.model["run"])
    name = CheckpointName.parse(str(recipe.model.get("checkpoint") or ""))
    work = attempt.folder / "start"
    result = attempt.retry(lambda: run_result(store, run_id))
    trained = None if result is None else (result.get("artifacts") or {}).get("model")
    if name is None and trained is None:
        raise Damaged(run_key(run_id, "result.json"), "the run has no model")
    prefix = run_key(run_id, str(trained)) if name is None else checkpoint_prefix(run_id, name)
    attempt.retry(lambda: require_digest(store, prefix, digest))
    reader = reading_attempt(store, run_id, work_dir=work, cache_dir=attempt.cache, events=attempt.events)
    model = stored_model(reader, result, name)
    folder = model.folder
    if name is not None:
        folder = work / "whole"
        folder.mkdir(parents=True)
        if trained is None:
            save_checkpoint(reader, model, folder)
        else:
            copy_files(reader.fetch_artifact(trained), folder, but=_is_weights)
            copy_files(model.folder, folder, but=lambda file: not _is_weights(file))
    own, first = attempt.artifact_store(), recipe.in_order[0]
    base, origin = model.start["base"], f"{run_id}, {'its model' if name is None else f'step {name.step}'}"
    if model.stage.adapter is None:
        logger.info(f"started from the model of {origin}")
        return {"base": own.commit(START_MODEL, partial(copy_files, folder), keep=True), "adapter": None}
    if continues_adapter(model.stage, first):
        logger.info(f"goes on with the adapter of {origin}: both have the same settings")
        copied = None if base is None else partial(copy_files, reader.fetch_artifact(base))
        return {
            "base": None if copied is None else own.commit(START_MODEL, copied, keep=True),
            "adapter": own.commit(START_ADAPTER, partial(copy_files, folder), keep=True),
        }
    logger.info(f"started from the model of {origin}, its adapter merged into its base")
    source, _ = start_from(reader, model.stage, {"base": base, "adapter": None})

    def merge(into: Path) -> None:
        save_merged(source, folder, into, cache_dir=attempt.cache)

    return {"base": own.commit(START_MODEL, merge, keep=True), "adapter": None}


def _is_weights(name: str) -> bool:
    """Whether a file of a saved model is of its weights, or says what they are."""
    return name.endswith((".safetensors", ".index.json", ".bin")) or name in ("config.json", "adapter_config.json")
