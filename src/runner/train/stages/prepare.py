"""From a stage of the recipe to the context that its script is given: start, fit, split over the processes."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from runner.distribution import install_command
from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import is_sharded
from runner.runs.attempts import fits_so_far, write_fit
from runner.train.devices.apply_fit import apply_fit, avoid_math_attention, detect_accelerator, model_config
from runner.train.devices.parallelism import (
    add_random_states,
    check_processes,
    describe_step,
    drop_deepspeed_if_done,
    split_step,
)
from runner.train.stages.context import AttemptContext, FinishedStage, StageContext, StageStart

logger = logging.getLogger(__name__)


def prepare_stage(
    attempt: AttemptContext,
    recipe: Recipe,
    start: StageStart,
    *,
    restored: Path | None,
    following: Recipe | None,
    finished: Sequence[FinishedStage],
) -> StageContext:
    """Return the context of a stage.

    Args:
        attempt: the attempt that trains it.
        recipe: the stage as the recipe has it.
        start: what it starts from.
        restored: its checkpoint to go on from, if there is one.
        following: the next stage, if there is one.
        finished: the stages before it.

    Raises:
        UserError: the recipe does not fit the model or the devices.
        CannotResumeHere: the checkpoint needs other processes than there are.
    """
    recipe, adapter = start_from(attempt, recipe, start)
    recipe = fit_to_device(attempt, recipe)
    recipe = split_over_processes(attempt, recipe, restored)
    return StageContext(
        attempt=attempt, recipe=recipe, adapter=adapter, restored=restored, following=following, finished=finished
    )


def start_from(attempt: AttemptContext, recipe: Recipe, start: StageStart) -> tuple[Recipe, Path | None]:
    """Fetch what a stage starts from; return its recipe with the local copy as its model, and the adapter's folder."""
    model = dict(recipe.model)
    if start["base"] is not None:
        model["model_name_or_path"] = str(attempt.fetch_artifact(start["base"]))
        model.pop("model_revision", None)
    adapter = None if start["adapter"] is None else attempt.fetch_artifact(start["adapter"])
    return dataclasses.replace(recipe, model=model), adapter


def fit_to_device(attempt: AttemptContext, recipe: Recipe, *, record: bool = True) -> Recipe:
    """Return a stage's recipe fitted to the GPU of this process, and log the choice in a line.

    The fit is recorded with the attempt, and a later attempt on the same GPUs takes it again as it was. A recipe that
    the estimate says will not fit is trained nevertheless, in the smallest way: estimates are cautious, and the user
    may know better.

    Args:
        attempt: the attempt that trains it.
        recipe: the stage's.
        record: whether to record the fit with the attempt.

    Raises:
        UserError: the adapter's targets are not in the model.
    """
    if not torch.cuda.is_available() or recipe.training.get("use_cpu"):
        return recipe
    accelerator = detect_accelerator()
    if not accelerator.flash_attention:
        avoid_math_attention()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    config = model_config(recipe, attempt.cache)
    if config is None:
        logger.info("fit: the model's config cannot be read, so nothing is fitted to the GPU")
        return recipe
    store, claim, stage = attempt.store, attempt.claim, recipe.stage_name
    earlier = attempt.retry(lambda: fits_so_far(store, claim, stage))
    chosen, fit_record = apply_fit(
        recipe, config, accelerator, devices=devices, nodes=world // devices, earlier=earlier
    )
    if record and os.environ.get("RANK", "0") == "0":
        attempt.retry(lambda: write_fit(store, claim, stage, fit_record))
    return chosen


def split_over_processes(attempt: AttemptContext, recipe: Recipe, restored: Path | None) -> Recipe:
    """Return a stage's recipe with each step split over the training processes; tell the checkpointer who writes.

    Args:
        attempt: the attempt that trains it.
        recipe: the stage's.
        restored: its checkpoint to go on from, if there is one; gets random states for processes that it lacks.

    Raises:
        UserError: the batch cannot be split so, or DeepSpeed is not installed.
        CannotResumeHere: the checkpoint needs other processes than there are.
    """
    process_info = attempt.process_info
    adapted = split_step(
        recipe, process_info.world_size, split=attempt.split, pin_memory=torch.accelerator.is_available()
    )
    if is_sharded(adapted.training) and find_spec("deepspeed") is None:
        raise UserError(
            "DeepSpeed is not installed here",
            where="training.strategy",
            remedy=f"{install_command('deepspeed')}, or write `strategy: ddp`",
        )
    if restored is not None:
        check_processes(restored, recipe, adapted, process_info.world_size)
        add_random_states(restored, process_info.rank, process_info.world_size)
        adapted = drop_deepspeed_if_done(restored, adapted)
    attempt.checkpointer.writers = process_info.world_size if is_sharded(adapted.training) else 1
    if process_info.is_main_process and (is_sharded(adapted.training) or process_info.world_size > 1):
        logger.info(describe_step(adapted, process_info.world_size))
    return adapted
