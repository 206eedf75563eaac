"""What a run's first stage starts from if that is another run's: made an artifact of this run, once, whoever asks.

A warm start (``model: {run: …}``) is like a stage after the other run's: the same adapter settings go on with its
adapter, others (or none) start from its model, base and adapter merged. A copy in this run keeps it whole when the
other run is deleted or pruned, and gives every attempt the same bytes.
"""

import dataclasses
import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runner.recipe.recipe import Recipe, continues_adapter
from runner.runs.checkpoints.origins import extension, first_start, manifest_digest, require_digest, write_first_start
from runner.runs.layout import START, CheckpointName, checkpoint_prefix, run_key
from runner.runs.record_types.run import StartRecord
from runner.runs.records import exists, run_result
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound
from runner.train.stages.context import AttemptContext, FinishedStage

logger = logging.getLogger(__name__)

_MODEL, _ADAPTER = "start-model", "start-adapter"


def prepare_first_start(attempt: AttemptContext, recipe: Recipe, *, needed: bool) -> StartRecord:
    """Return what the first stage starts from, after making it if it comes from another run and nobody has.

    Args:
        attempt: the attempt; all of its training processes call this together.
        recipe: the run's.
        needed: whether a stage will start from it in this attempt.

    Raises:
        UserError, NotFound, Damaged: the other run's model is not there as it was at the launch.
    """
    store, run_id = attempt.store, attempt.claim.run_id
    start = attempt.retry(lambda: first_start(store, run_id))
    if start["base"] is not None or start["adapter"] is not None or not needed:
        return start
    document = attempt.run_document()
    lineage = extension(document)
    made: StartRecord | None = None
    if lineage is not None and attempt.retry(lambda: exists(store, run_key(lineage["run_id"], START))):
        if attempt.process_info.is_main_process:
            theirs = attempt.retry(lambda: first_start(store, lineage["run_id"]))
            made = {
                "base": _adopt(attempt, lineage["run_id"], theirs["base"]),
                "adapter": _adopt(attempt, lineage["run_id"], theirs["adapter"]),
            }
    elif recipe.model.get("run") is not None:
        if attempt.process_info.is_main_process:
            attempt.events.phase("loading", f"the model of {recipe.model['run']}")
            made = _make(attempt, recipe, (document.get("lineage") or {}).get("digest"))
    else:
        return start
    if made is not None:
        written = made
        made = attempt.retry(lambda: write_first_start(store, run_id, written))
    made = attempt.process_info.broadcast_object(made)
    assert made is not None, "the main process has made it"
    return made


def adopt_finished(attempt: AttemptContext, finished: Sequence[FinishedStage]) -> list[FinishedStage]:
    """Return the records of the stages before, of an extended run with copies of its artifacts in this run.

    Args:
        attempt: the attempt; all of its training processes call this together.
        finished: from the checkpoint that it goes on from.
    """
    lineage = extension(attempt.run_document()) if finished else None
    if lineage is None:
        return list(finished)
    other, adopted = lineage["run_id"], None
    if attempt.process_info.is_main_process:

        def own(key: str | None) -> str | None:
            return _adopt(attempt, other, key)

        adopted = [
            {
                **stage,
                "artifacts": {name: own(key) for name, key in stage["artifacts"].items()},
                "started_from": {part: own(key) for part, key in dict(stage["started_from"]).items()},  # type: ignore[arg-type]
                "leaves": stage["leaves"] and {part: own(key) for part, key in dict(stage["leaves"]).items()},  # type: ignore[arg-type]
            }
            for stage in finished
        ]
    result: Any = attempt.process_info.broadcast_object(adopted)
    return list(result)


def start_artifacts(recipe: Recipe, start: StartRecord) -> dict[str, str]:
    """Return the artifacts that belong to a run's result because its adapter is of no use without them."""
    adapted = any(stage.adapter is not None for stage in recipe.in_order)
    return {_MODEL: start["base"]} if adapted and start["base"] is not None else {}


def _adopt(attempt: AttemptContext, run_id: str, key: str | None) -> str | None:
    """Copy an artifact of another run into this one, unless it is there; return its key."""
    store, own_id = attempt.store, attempt.claim.run_id
    if key is None:
        return None
    try:
        attempt.retry(lambda: manifest_digest(store, run_key(own_id, key)))
    except NotFound:
        pass
    else:
        return key
    theirs = dataclasses.replace(attempt, claim=dataclasses.replace(attempt.claim, run_id=run_id))
    folder = theirs.artifact_store().folder(key)
    name = key.split("/")[1]
    made = attempt.folder / "adopted"
    shutil.rmtree(made, ignore_errors=True)
    folder.replace(made)  # both runs' folders of an artifact have the same name
    return attempt.artifact_store().commit(name, partial(_copy, made), keep=True)


def _make(attempt: AttemptContext, recipe: Recipe, digest: str | None) -> StartRecord:
    """Make artifacts of the other run's model, or of its adapter and the model that this belongs to."""
    from runner.train.export.save import save_merged
    from runner.train.stages.prepare import start_from
    from runner.train.stored_model import reading_attempt, save_checkpoint, stored_model

    store, run_id = attempt.store, str(recipe.model["run"])
    name = CheckpointName.parse(str(recipe.model.get("checkpoint") or ""))
    work = attempt.folder / "start"
    result = attempt.retry(lambda: run_result(store, run_id))
    trained = (result or {}).get("artifacts", {}).get("model")
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
            _copy(reader.fetch_artifact(trained), folder, but=_is_weights)
            _copy(model.folder, folder, but=lambda file: not _is_weights(file))
    own, first = attempt.artifact_store(), recipe.in_order[0]
    base, origin = model.start["base"], f"{run_id}, {'its model' if name is None else f'step {name.step}'}"
    if model.stage.adapter is None:
        logger.info(f"started from the model of {origin}")
        return {"base": own.commit(_MODEL, partial(_copy, folder), keep=True), "adapter": None}
    if continues_adapter(model.stage, first):
        logger.info(f"goes on with the adapter of {origin}: both have the same settings")
        copied = None if base is None else partial(_copy, reader.fetch_artifact(base))
        return {
            "base": None if copied is None else own.commit(_MODEL, copied, keep=True),
            "adapter": own.commit(_ADAPTER, partial(_copy, folder), keep=True),
        }
    logger.info(f"started from the model of {origin}, its adapter merged into its base")
    source, _ = start_from(reader, model.stage, {"base": base, "adapter": None})

    def merge(into: Path) -> None:
        save_merged(source, folder, into, cache_dir=attempt.cache)

    return {"base": own.commit(_MODEL, merge, keep=True), "adapter": None}


def _copy(source: Path, folder: Path, *, but: Any = lambda name: False) -> None:
    for path in sorted(source.rglob("*")):
        target = folder / path.relative_to(source)
        if path.is_file() and not but(path.name) and path.name != "README.md":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _is_weights(name: str) -> bool:
    """Whether a file of a saved model is of its weights, or says what they are."""
    return name.endswith((".safetensors", ".index.json", ".bin")) or name in ("config.json", "adapter_config.json")
