"""What a run's first stage starts from if that is another run's: made an artifact of this run, once, whoever asks.

A warm start (``model: {run: …}``) is like a stage after the other run's: the same adapter settings go on with its
adapter, others (or none) start from its model, base and adapter merged. A copy in this run keeps it whole when the
other run is deleted or pruned, and gives every attempt the same bytes.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from runner.recipe.recipe import Recipe
from runner.runs.checkpoints.origins import extension, first_start, manifest_digest, write_first_start
from runner.runs.layout import START, run_key
from runner.runs.record_types.run import StartRecord
from runner.runs.records import exists
from runner.storage.store import NotFound
from runner.train.stages.context import AttemptContext, FinishedStage

START_MODEL, START_ADAPTER = "start-model", "start-adapter"
"""The artifacts' names."""

MakeStart = Callable[[AttemptContext, Recipe, str | None], StartRecord]
"""Makes artifacts of the model of the run that a recipe starts from; its third argument is the digest of that."""


def prepare_first_start(
    attempt: AttemptContext, recipe: Recipe, *, needed: bool, make: MakeStart | None
) -> StartRecord:
    """Return what the first stage starts from, after making it if it comes from another run and nobody has.

    Args:
        attempt: the attempt; all of its training processes call this together.
        recipe: the run's.
        needed: whether a stage will start from it in this attempt.
        make: makes the artifacts of the other run's model; needed by a recipe that starts from one.

    Raises:
        UserError, NotFound, Damaged: the other run's model is not there as it was at the launch.
    """
    store, run_id = attempt.store, attempt.claim.run_id
    start = attempt.retry(lambda: first_start(store, run_id))
    if start["base"] is not None or start["adapter"] is not None or not needed:
        return start
    document = attempt.run_document()
    extended = extension(document)
    other = None if extended is None else extended["run_id"]
    made: StartRecord | None = None
    if other is not None and attempt.retry(lambda: exists(store, run_key(other, START))):
        if attempt.process_info.is_main_process:
            theirs = attempt.retry(lambda: first_start(store, other))
            made = {
                "base": _adopt(attempt, other, theirs["base"]),
                "adapter": _adopt(attempt, other, theirs["adapter"]),
            }
    elif recipe.model.get("run") is not None:
        if attempt.process_info.is_main_process:
            attempt.events.phase("loading", f"the model of {recipe.model['run']}")
            lineage = document.get("lineage")
            assert make is not None, "the training process brings it"
            made = make(attempt, recipe, None if lineage is None else lineage.get("digest"))
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

        @cache  # a stage's artifact is also what the next one started from
        def own(key: str | None) -> str | None:
            return _adopt(attempt, other, key)

        adopted = [
            {
                **stage,
                "artifacts": {name: own(key) for name, key in stage["artifacts"].items()},
                "started_from": {part: own(key) for part, key in dict(stage["started_from"]).items()},
                "leaves": stage["leaves"] and {part: own(key) for part, key in dict(stage["leaves"]).items()},
            }
            for stage in finished
        ]
    result: Any = attempt.process_info.broadcast_object(adopted)
    return list(result)


def start_artifacts(recipe: Recipe, start: StartRecord) -> dict[str, str]:
    """Return the artifacts that belong to a run's result because its adapter is of no use without them."""
    adapted = any(stage.adapter is not None for stage in recipe.in_order)
    return {START_MODEL: start["base"]} if adapted and start["base"] is not None else {}


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
    return attempt.artifact_store().commit(name, partial(copy_files, made), keep=True)


def copy_files(source: Path, folder: Path, *, but: Callable[[str], bool] = lambda name: False) -> None:
    """Copy the files below a folder, without those that are not wanted, and without the model card of the other run."""
    for path in sorted(source.rglob("*")):
        target = folder / path.relative_to(source)
        if path.is_file() and not but(path.name) and path.name != "README.md":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
