"""The recipe on the available devices: the same optimizer step, split over their processes."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from runner.recipe.batch import split_batch
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import choose_strategy, deepspeed_config, layout, zero_stage
from runner.runs.checkpoints.files import read_runner_state, rng_state_file
from runner.storage.atomic import temporary_path
from runner.train.agent.preemption import CannotResumeHere


def split_step(recipe: Recipe, world_size: int, *, split: Sequence[int] | None, pin_memory: bool) -> Recipe:
    """Return `recipe` with its batch split and DeepSpeed's configuration filled in, for this many processes.

    Args:
        recipe: the stage's.
        world_size: number of training processes.
        split: micro-batch and accumulation of the run's step after it ran out of memory; None if it did not.
        pin_memory: see `deepspeed_config`.

    Raises:
        UserError: the effective batch cannot be divided by so many.
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


def describe_step(adapted: Recipe, world_size: int) -> str:
    """Return how a step is split, for the log."""
    micro_batch = adapted.training["per_device_train_batch_size"]
    accumulation = adapted.training["gradient_accumulation_steps"]
    zero = zero_stage(adapted.training, None)
    return (
        f"{f'ZeRO-{zero}' if zero else 'ddp'} on {world_size} processes: a step is {micro_batch} samples x "
        f"{accumulation} x {world_size} devices = {micro_batch * accumulation * world_size}"
    )


def check_processes(restored: Path, recipe: Recipe, adapted: Recipe, world_size: int) -> None:
    """Check that these processes can go on from the checkpoint of those that wrote it.

    If every process has the whole state (a single one, or `ddp`), another number of processes can: with
    `effective_batch_size` each step has the same samples as before. ZeRO's parts, and completions that GRPO has
    generated ahead, belong to the processes that made them.

    Raises:
        CannotResumeHere: they cannot.
    """
    saved = read_runner_state(restored)
    before = {"world_size": saved["world_size"], "zero_stage": saved.get("zero_stage", 0)}
    now = layout(adapted.training, world_size)
    if before == now or saved["complete"]:
        return
    writers = f"{before['world_size']} training processes" + (
        f" with ZeRO-{before['zero_stage']}" if before["zero_stage"] else ""
    )
    available = f"{world_size}" + (f" with ZeRO-{now['zero_stage']}" if now["zero_stage"] else "")
    if before["zero_stage"] or now["zero_stage"]:
        why = "ZeRO's parts of the state belong to as many processes as wrote them"
    elif recipe.training.get("effective_batch_size") is None:
        why = "the recipe has no effective_batch_size, so that a step would have another number of samples"
    elif recipe.method == "grpo":
        why = "completions were generated ahead, a part by each process"
    else:
        return
    raise CannotResumeHere(
        f"the checkpoint was written by {writers}, and there are {available}: {why}; "
        f"resume it on {before['world_size']} devices"
    )


def drop_deepspeed_if_done(restored: Path, adapted: Recipe) -> Recipe:
    """Return `adapted` without DeepSpeed if training has ended and DeepSpeed could only train (ZeRO-1 and 2).

    An evaluation and the export are left; the checkpoint has the whole weights for them.
    """
    complete = bool(read_runner_state(restored)["complete"])
    if not complete or zero_stage(adapted.training, None) not in (1, 2):
        return adapted
    return without_deepspeed(adapted)


def add_random_states(restored: Path, rank: int, world_size: int) -> None:
    """Add random states to a checkpoint for a process that it has none for: those of one of its own processes.

    transformers would silently go on with whatever random streams the process has.
    """
    own = restored / rng_state_file(rank, world_size)
    if own.exists():
        return
    writers = read_runner_state(restored)["world_size"]
    temporary = temporary_path(own)
    shutil.copyfile(restored / rng_state_file(rank % writers, writers), temporary)
    temporary.replace(own)


def without_deepspeed(recipe: Recipe) -> Recipe:
    """Return `recipe` without DeepSpeed, for an evaluation by a single process."""
    training = {key: value for key, value in recipe.training.items() if key != "deepspeed"}
    return dataclasses.replace(recipe, training=training)
