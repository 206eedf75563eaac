"""The fit, applied: a recipe's training as the GPU at hand needs it (`runner.fit.fit`). On a CPU nothing changes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.integrations import sdpa_attention

from runner.fit.accelerators import ACCELERATORS, GIB, Accelerator, recognize
from runner.fit.fit import Fit, fit, fitted
from runner.recipe.recipe import Recipe
from runner.storage.fits import fits_so_far, write_fit
from runner.storage.retry import after
from runner.train.builtin.catalog import is_builtin, materialize
from runner.train.patience import patiently
from runner.train.stages.context import FINISH_SECONDS, Context

_OF_A_KIND = 0.9
"""A GPU that has this much of its kind's usual memory is taken to have the usual: drivers differ by some megabytes, and
the same kind must be fitted alike each time. One that has less is a slice of it."""


def fitted_to_device(context: Context) -> Context:
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
    accelerator = device_at_hand()
    if not accelerator.flash_attention:
        keep_off_math_attention()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    config = _config(recipe, context.cache)
    if config is None:
        print("fit: the model's config cannot be read, so nothing is fitted to the GPU", flush=True)
        return context
    store, claim, stage = context.store, context.claim, recipe.stage_name
    until = after(FINISH_SECONDS)
    earlier = patiently(lambda: fits_so_far(store, claim, stage), until=until)
    chosen, record = apply_fit(recipe, config, accelerator, devices=devices, nodes=world // devices, earlier=earlier)
    if os.environ.get("RANK", "0") == "0" and not context.measures_only:
        patiently(lambda: write_fit(store, claim, stage, record), until=until)
    return replace(context, recipe=chosen)


def apply_fit(
    recipe: Recipe,
    config: Mapping[str, Any],
    accelerator: Accelerator,
    *,
    devices: int,
    nodes: int,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> tuple[Recipe, dict[str, Any]]:
    """A recipe for a GPU that is known, and the record of how it was fitted.

    Args:
        recipe: what to train.
        config: the model's `config.json`.
        accelerator: which GPU.
        devices: how many of it a machine has.
        nodes: how many machines.
        earlier: records of attempts before this one, oldest first.
    """
    chosen = fit(recipe, config, accelerator, devices=devices, nodes=nodes)
    settings = dict(chosen.settings)
    before = [one["settings"] for one in earlier if (one["accelerators"], one["nodes"]) == (chosen.accelerators, nodes)]
    if before:
        settings = dict(before[-1])
    _say(chosen, again=bool(before) and settings != chosen.settings, settings=settings)
    record = {
        "accelerators": chosen.accelerators,
        "nodes": chosen.nodes,
        "fits": chosen.fits,
        "reason": chosen.reason,
        "memory_gib": chosen.memory_gib,
        "capacity_gib": chosen.capacity_gib,
        "settings": settings,
    }
    return fitted(recipe, settings), record


def device_at_hand() -> Accelerator:
    """The GPU of this process."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    capability = (properties.major, properties.minor)
    return as_its_kind(recognize(properties.name, properties.total_memory / GIB, capability))


def as_its_kind(accelerator: Accelerator) -> Accelerator:
    """With its kind's usual memory, where it has about that."""
    usual = ACCELERATORS.get(accelerator.name)
    if usual is None or accelerator.memory_gib < _OF_A_KIND * usual.memory_gib:
        return accelerator
    return replace(accelerator, memory_gib=min(accelerator.memory_gib, usual.memory_gib))


def keep_off_math_attention() -> None:
    """Have keys and values repeated for each query head instead of asking torch to.

    On GPUs without its flash kernel (before Ampere) torch can only do that in its math kernel, which holds the scores
    of all pairs of tokens; with them repeated the memory-efficient kernel does it.
    """
    sdpa_attention.use_gqa_in_sdpa = lambda attention_mask, key, value: False


def _config(recipe: Recipe, cache_dir: Path) -> Mapping[str, Any] | None:
    name = str(recipe.model["model_name_or_path"])
    source = str(materialize(name, cache_dir)) if is_builtin(name) else name
    try:
        config: Mapping[str, Any] = PretrainedConfig.get_config_dict(
            source, revision=recipe.model.get("model_revision") or "main"
        )[0]
    except (OSError, ValueError):
        return None  # loading the model will say what is wrong
    return config


def _say(chosen: Fit, *, again: bool, settings: Mapping[str, Any]) -> None:
    size = f"about {chosen.memory_gib:.1f} of {chosen.capacity_gib:.1f} GiB"
    if again:
        words = ", ".join(f"{path.partition('.')[2]} {value}" for path, value in settings.items())
        print(f"fit: {chosen.accelerators}: as the attempts before: {words}", flush=True)
    elif chosen.fits:
        print(f"fit: {chosen.accelerators}: {chosen.reason}; {size}", flush=True)
    else:
        print(f"warning: {chosen.accelerators}: {chosen.reason}. Trying all the same", flush=True)
    for note in chosen.notes:
        print(f"fit: {note}", flush=True)
