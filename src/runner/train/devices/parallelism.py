"""The recipe as it is trained on the devices that there are: the same step, cut up for them."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from runner.recipe.batch import split_batch
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import choose_strategy, deepspeed_config, layout, zero_stage
from runner.runs.checkpoint_files import RUNNER_STATE, rng_state_file
from runner.storage.atomic import temporary_path
from runner.train.agent.preemption import CannotResumeHere


def split_step(recipe: Recipe, world_size: int, *, split: Sequence[int] | None, pin_memory: bool) -> Recipe:
    """`recipe` with its batch split and DeepSpeed's configuration written out, for this many processes.

    Args:
        recipe: what to train.
        world_size: how many training processes take part.
        split: the micro-batch and accumulation that a run was left with when it ran out of memory.
        pin_memory: see `deepspeed_config`.

    Raises:
        UserError: the effective batch cannot be shared by so many.
    """
    training = dict(recipe.training)
    micro_batch, accumulation = split_batch(training, world_size)
    if split is not None and split[0] < micro_batch:
        share = micro_batch * accumulation
        smaller = max(size for size in range(1, split[0] + 1) if share % size == 0)
        if training.get("steps_per_generation"):
            # Completions are still generated for as many samples at once.
            training["steps_per_generation"] = training["steps_per_generation"] * micro_batch // smaller
        micro_batch, accumulation = smaller, share // smaller
    training.pop("effective_batch_size", None)
    training |= {"per_device_train_batch_size": micro_batch, "gradient_accumulation_steps": accumulation}
    config = deepspeed_config(choose_strategy(training, world_size), pin_memory=pin_memory)
    if config is not None:
        training["deepspeed"] = config
    return dataclasses.replace(recipe, training=training)


def in_words(adapted: Recipe, world_size: int) -> str:
    """How a step is shared, for the log."""
    micro_batch = adapted.training["per_device_train_batch_size"]
    accumulation = adapted.training["gradient_accumulation_steps"]
    zero = zero_stage(adapted.training, None)
    return (
        f"{f'ZeRO-{zero}' if zero else 'ddp'} on {world_size} processes: a step is {micro_batch} samples x "
        f"{accumulation} x {world_size} devices = {micro_batch * accumulation * world_size}"
    )


def check_processes(restored: Path, recipe: Recipe, adapted: Recipe, world_size: int) -> None:
    """See that these processes can go on from what those of the checkpoint left.

    With the whole state in every process (alone, or `ddp`) another number of them can: with `effective_batch_size` each
    step has the same samples as before. ZeRO's parts, and completions that GRPO has generated ahead, belong to the
    processes that have made them.

    Raises:
        ContinuesElsewhere: they cannot.
    """
    saved = json.loads((restored / RUNNER_STATE).read_text())
    before = {"world_size": saved["world_size"], "zero_stage": saved.get("zero_stage", 0)}
    now = layout(adapted.training, world_size)
    if before == now or saved["complete"]:
        return
    wanted = f"{before['world_size']} training processes" + (
        f" with ZeRO-{before['zero_stage']}" if before["zero_stage"] else ""
    )
    found = f"{world_size}" + (f" with ZeRO-{now['zero_stage']}" if now["zero_stage"] else "")
    if before["zero_stage"] or now["zero_stage"]:
        why = "ZeRO's parts of the state belong to as many processes as wrote them"
    elif recipe.training.get("effective_batch_size") is None:
        why = "the recipe has no effective_batch_size, so that a step would have another number of samples"
    elif recipe.method == "grpo":
        why = "completions were generated ahead, a part by each process"
    else:
        return
    raise CannotResumeHere(
        f"the checkpoint was written by {wanted}, and there are {found}: {why}; "
        f"resume it on {before['world_size']} devices"
    )


def drop_deepspeed_if_done(restored: Path, adapted: Recipe) -> Recipe:
    """`adapted`, without DeepSpeed where training has ended and DeepSpeed could only train (ZeRO-1 and 2).

    What is left is an evaluation and the export, of whole weights that lie in the checkpoint.
    """
    complete = bool(json.loads((restored / RUNNER_STATE).read_text())["complete"])
    if not complete or zero_stage(adapted.training, None) not in (1, 2):
        return adapted
    return without_deepspeed(adapted)


def random_states_for(restored: Path, rank: int, world_size: int) -> None:
    """Give a process that was not there when `restored` was written the random streams of one that was.

    transformers would go on without a word, from wherever its own streams stand.
    """
    own = restored / rng_state_file(rank, world_size)
    if own.exists():
        return
    before = json.loads((restored / RUNNER_STATE).read_text())["world_size"]
    free = temporary_path(own)
    shutil.copyfile(restored / rng_state_file(rank % before, before), free)
    free.replace(own)


def without_deepspeed(recipe: Recipe) -> Recipe:
    """`recipe` without DeepSpeed, for an evaluation by one process alone."""
    training = {key: value for key, value in recipe.training.items() if key != "deepspeed"}
    return dataclasses.replace(recipe, training=training)
