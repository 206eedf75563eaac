"""A model of a run as the store has it, with the stage that trained it: to measure it again, or to save it as a model.

It is the model that the run ended with, or that of any of its checkpoints, whatever became of the run.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from runner.recipe.recipe import Recipe
from runner.runs.attempts import Claim, newest_number
from runner.runs.checkpoints.choice import is_model_file
from runner.runs.checkpoints.files import read_runner_state
from runner.runs.checkpoints.origins import first_start
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.record_types.result import Result
from runner.runs.records import run_recipe
from runner.runs.reopened import current_document
from runner.storage.commit import fetch
from runner.storage.store import Store
from runner.train.agent.events import Events
from runner.train.agent.preemption import PreemptionNotice
from runner.train.checkpointing.checkpointer import Checkpointer
from runner.train.devices.parallelism import without_deepspeed
from runner.train.export.save import save_model
from runner.train.finite import require_finite_weights
from runner.train.loggers.metrics_writer import Metrics
from runner.train.methods.registry import method_script
from runner.train.stages.context import AttemptContext, StageContext, StageStart
from runner.train.stages.prepare import fit_to_device, start_from
from runner.train.stages.steps import StageRun

_ONLY_WHEN_TRAINING = ("report_to", "early_stopping_patience", "early_stopping_threshold")


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model of a run, on this machine."""

    stage: Recipe
    """The stage that trained it, as the recipe has it."""
    start: StageStart
    """What that stage started from."""
    folder: Path
    """Its weights: an artifact, or a checkpoint's files without what only training needs."""


def reading_attempt(store: Store, run_id: str, *, work_dir: Path, cache_dir: Path, events: Events) -> AttemptContext:
    """Return what an attempt after all others would have, for a program that trains nothing and writes nothing.

    Args:
        store: the store that holds the run.
        run_id: the run.
        work_dir: a local folder for this program alone.
        cache_dir: a local folder that all runs share, for builtin models.
        events: gets each phase.
    """
    claim = Claim(run_id, newest_number(store, run_id) + 1, "eval")
    return AttemptContext(
        store=store,
        claim=claim,
        folder=work_dir,
        shared_folder=work_dir / "shared",
        cache=cache_dir,
        events=events,
        notice=PreemptionNotice(),
        metrics=Metrics(None, events),
        checkpointer=Checkpointer(
            store,
            claim,
            staging=work_dir / "staging",
            before_manifest=lambda: None,
            on_committed=lambda step: None,
            on_warning=lambda text: None,
        ),
    )


def stored_model(attempt: AttemptContext, result: Result | None, checkpoint: CheckpointName | None) -> StoredModel:
    """Fetch a model of a run.

    Args:
        attempt: from `reading_attempt`.
        result: the run's; needed if `checkpoint` is None.
        checkpoint: of which checkpoint; None for the model that the run ended with.

    Raises:
        UserError: its weights are not finite.
        NotFound, Damaged: it is not in the store as it was committed.
    """
    run_id = attempt.claim.run_id
    recipe = run_recipe(current_document(attempt.store, run_id))
    if checkpoint is None:
        assert result is not None, "the caller has looked"
        stages = result.get("stages") or []
        stage = recipe.in_order[len(stages) - 1] if stages else recipe.in_order[-1]
        start = _first_start(attempt)
        if stages:
            start = {"base": stages[-1]["started_from"]["base"], "adapter": stages[-1]["started_from"]["adapter"]}
        folder = attempt.fetch_artifact(result["artifacts"]["model"])
    else:
        stage = next(stage for stage in recipe.in_order if stage.stage_name == checkpoint.stage)
        folder = attempt.folder / str(checkpoint)
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = checkpoint_prefix(run_id, checkpoint)
        attempt.retry(lambda: fetch(attempt.store, prefix, folder, only=is_model_file))
        finished = read_runner_state(folder).get("finished") or ()
        start = finished[-1]["leaves"] if finished else _first_start(attempt)
    require_finite_weights(folder, run_id)
    return StoredModel(stage=stage, start=start, folder=folder)


def _first_start(attempt: AttemptContext) -> StageStart:
    """Return what the first stage started from: the recipe's model, or another run's."""
    first = first_start(attempt.store, attempt.claim.run_id)
    return {"base": first["base"], "adapter": first["adapter"]}


def build_stage(attempt: AttemptContext, recipe: Recipe, start: StageStart) -> StageRun:
    """Build a stage as its method's own script does, so that the same data give the same values; train nothing.

    Args:
        attempt: from `reading_attempt`.
        recipe: the stage's.
        start: what it started from.

    Raises:
        UserError: a model or dataset of the run cannot be read from this machine.
    """
    training = {key: value for key, value in recipe.training.items() if key not in _ONLY_WHEN_TRAINING}
    stage = without_deepspeed(dataclasses.replace(recipe, training=training))
    stage, adapter = start_from(attempt, stage, start)
    stage = fit_to_device(attempt, stage, record=False)
    return method_script(stage.method).build(
        StageContext(attempt=attempt, recipe=stage, adapter=adapter, measures_only=True)
    )


def save_checkpoint(attempt: AttemptContext, model: StoredModel, folder: Path) -> None:
    """Write a checkpoint's model or adapter with its tokenizer, as a run that ended there would have left it.

    Args:
        attempt: from `reading_attempt`.
        model: from `stored_model`.
        folder: gets the files.

    Raises:
        UserError: a model or dataset of the run cannot be read from this machine.
    """
    stage_run = build_stage(attempt, model.stage, model.start)
    stage_run.trainer.load_weights(model.folder)
    save_model(stage_run.trainer.model, stage_run.tokenizer, folder)


def no_events() -> Events:
    """Events that nobody reads."""
    return Events(os.open(os.devnull, os.O_WRONLY))
