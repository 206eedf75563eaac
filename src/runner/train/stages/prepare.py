"""From a stage's recipe to one that fits the devices of this attempt."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec

import torch

from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import is_sharded
from runner.runs.attempts import fits_so_far, write_fit
from runner.storage.retry import after, retry_store_call
from runner.train.devices.apply_fit import _config, apply_fit, detect_accelerator, keep_off_math_attention
from runner.train.devices.parallelism import (
    check_processes,
    drop_deepspeed_if_done,
    in_words,
    random_states_for,
    split_step,
)
from runner.train.stages.context import Context


def fit_to_device(context: Context) -> Context:
    """The context of a stage with its recipe fitted to the GPU of this process; says in a line what was chosen.

    The fit is recorded with the attempt, and a later attempt on the same GPUs takes it again as it was. A recipe whose
    fit says that it will not do is trained nevertheless, in the smallest way: estimates are cautious, and who launched
    it here may know better.

    Raises:
        UserError: the adapter's targets are not in the model.
    """
    recipe = context.recipe
    if not torch.cuda.is_available() or recipe.training.get("use_cpu"):
        return context
    accelerator = detect_accelerator()
    if not accelerator.flash_attention:
        keep_off_math_attention()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    config = _config(recipe, context.cache)
    if config is None:
        print("fit: the model's config cannot be read, so nothing is fitted to the GPU", flush=True)
        return context
    store, claim, stage = context.store, context.claim, recipe.stage_name
    until = after(context.finish_seconds)
    earlier = retry_store_call(lambda: fits_so_far(store, claim, stage), until=until)
    chosen, record = apply_fit(recipe, config, accelerator, devices=devices, nodes=world // devices, earlier=earlier)
    if os.environ.get("RANK", "0") == "0" and not context.measures_only:
        retry_store_call(lambda: write_fit(store, claim, stage, record), until=until)
    return replace(context, recipe=chosen)


def split_over_processes(context: Context) -> Context:
    """The context of a stage with its recipe as the training processes that there are share it.

    Raises:
        UserError: the batch cannot be shared, or DeepSpeed is not installed.
        ContinuesElsewhere: the checkpoint to go on from is other processes'.
    """
    process_info, recipe = context.process_info, context.recipe
    adapted = split_step(
        recipe, process_info.world_size, split=context.split, pin_memory=torch.accelerator.is_available()
    )
    if is_sharded(adapted.training) and find_spec("deepspeed") is None:
        raise UserError(
            "DeepSpeed is not installed here",
            where="training.strategy",
            remedy="pip install 'runner[deepspeed]', or write `strategy: ddp`",
        )
    if context.restored is not None:
        check_processes(context.restored, recipe, adapted, process_info.world_size)
        random_states_for(context.restored, process_info.rank, process_info.world_size)
        adapted = drop_deepspeed_if_done(context.restored, adapted)
    context.checkpointer.writers = process_info.world_size if is_sharded(adapted.training) else 1
    if process_info.is_main_process and (is_sharded(adapted.training) or process_info.world_size > 1):
        print(in_words(adapted, process_info.world_size), flush=True)
    return dataclasses.replace(context, recipe=adapted)


Start = Mapping[str, str | None]
"""What a stage starts from, by keys of artifacts: ``base``, a model (None: the recipe's own), and ``adapter``, which it
goes on with (None: it makes its own, if any)."""


THE_RECIPES: Start = {"base": None, "adapter": None}
"""What the first stage starts from."""


def started(context: Context, stage: Recipe, start: Start) -> Context:
    """The context of a stage that starts from `start`: the model's name is that of the local copy."""
    model = dict(stage.model)
    if start["base"] is not None:
        model["model_name_or_path"] = str(context.fetch_artifact(start["base"]))
        model.pop("model_revision", None)
    adapter = None if start["adapter"] is None else context.fetch_artifact(start["adapter"])
    return dataclasses.replace(context, recipe=dataclasses.replace(stage, model=model), adapter=adapter)
