"""Find the smallest change to a recipe that makes it fit a GPU on which it does not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner.fit.accelerators import Accelerator
from runner.fit.fit import fit_workload
from runner.fit.workload import Workload, checkpoints_activations, setting, workload
from runner.recipe.recipe import Json, Recipe

SHORTEST = 256
"""No shorter `max_length` is suggested."""
ADAPTER: Mapping[str, Json] = {"r": 16, "target_modules": "all-linear"}
COUNTS = (2, 4, 8)


def nearest_change(works: Sequence[Workload], accelerator: Accelerator, *, devices: int, nodes: int) -> str | None:
    """Return what to write so that a recipe fits, in its own names; None if no single change is enough.

    Changes that leave what is learned as it is come first, then those that cut rows or train fewer weights, then more
    GPUs. A recipe that fits is answered with None as well.

    Args:
        works: the recipe's stages.
        accelerator: the GPU.
        devices: GPUs per machine.
        nodes: machines.
    """

    def fits(change: Callable[[Recipe], Recipe] | None = None, count: int = devices) -> bool:
        changed = (
            works if change is None else [workload(change(work.recipe), work.shape, work.lengths) for work in works]
        )
        return all(fit_workload(work, accelerator, devices=count, nodes=nodes).fits for work in changed)

    if fits():
        return None
    recipe = max(works, key=lambda work: work.length).recipe
    for words, change in _changes(recipe, max(work.length for work in works)):
        if fits(change):
            return words
    for count in COUNTS:
        if count > devices and fits(count=count):
            return f"{count} GPUs of this kind"
    return None


def _changes(recipe: Recipe, longest: int) -> Iterator[tuple[str, Callable[[Recipe], Recipe]]]:
    training = recipe.training
    size, steps = training.get("per_device_train_batch_size"), training.get("gradient_accumulation_steps")
    if isinstance(size, int) and size > 1:
        rows = size * (steps if isinstance(steps, int) else 1)
        split = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": rows}
        if training.get("effective_batch_size") is not None:
            split.pop("gradient_accumulation_steps")
        yield " and ".join(f"`training.{key}: {value}`" for key, value in split.items()), _train(split)
    if checkpoints_activations(recipe) is False:
        wanted = {"gradient_checkpointing": True}
        yield "`training.gradient_checkpointing: true`", _train(wanted, "activation_checkpointing")
    evaluated = training.get("per_device_eval_batch_size")
    if isinstance(evaluated, int) and evaluated > 1 and recipe.method != "grpo":
        yield "`training.per_device_eval_batch_size: 1`", _train({"per_device_eval_batch_size": 1})
    if setting(recipe, "optim") == "adamw_torch":
        yield "`training.optim: adamw_torch_fused`", _train({"optim": "adamw_torch_fused"})
    if recipe.adapter is None:
        yield "`training.optim: paged_adamw_8bit`", _train({"optim": "paged_adamw_8bit"})
    if recipe.method == "grpo":
        shorter = _shorter(int(setting(recipe, "max_completion_length") or 256))
        yield from ((f"`training.max_completion_length: {n}`", _train({"max_completion_length": n})) for n in shorter)
    else:
        yield from ((f"`training.max_length: {n}`", _train({"max_length": n})) for n in _shorter(longest))
    if recipe.adapter is not None and not (recipe.model.get("load_in_4bit") or recipe.model.get("load_in_8bit")):
        yield "`model.load_in_4bit: true`", _model({"load_in_4bit": True})
    if recipe.adapter is None:
        yield "an `adapter` (r: 16, target_modules: all-linear)", _adapt({})
        yield "an `adapter` and `model.load_in_4bit: true`", _adapt({"load_in_4bit": True})


def _shorter(length: int) -> Iterator[int]:
    """Yield three quarters and half of a length, twice; no less, which would be another task."""
    for share in (0.75, 0.5, 0.375, 0.25):
        shorter = int(length * share) // 64 * 64
        if SHORTEST <= shorter < length:
            yield shorter


def _train(values: Mapping[str, Json], *dropped: Any) -> Callable[[Recipe], Recipe]:
    def change(recipe: Recipe) -> Recipe:
        kept = {key: value for key, value in recipe.training.items() if key not in dropped}
        return replace(recipe, training={**kept, **values})

    return change


def _model(values: Mapping[str, Json]) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, model={**recipe.model, **values})


def _adapt(values: Mapping[str, Json]) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, adapter=dict(ADAPTER), model={**recipe.model, **values})
