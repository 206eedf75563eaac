"""The fit, applied: a recipe's training as the GPU at hand needs it (`runner.fit.fit`). On a CPU nothing changes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.integrations import sdpa_attention

from runner.fit.accelerators import ACCELERATORS, GIB, Accelerator, identify_accelerator
from runner.fit.fit import Fit, apply_fit_settings, fit
from runner.recipe.recipe import Recipe
from runner.train.builtin.catalog import is_builtin, materialize

_OF_A_KIND = 0.9
"""A GPU that has this much of its kind's usual memory is taken to have the usual: drivers differ by some megabytes, and
the same kind must be fitted alike each time. One that has less is a slice of it."""


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
    return apply_fit_settings(recipe, settings), record


def detect_accelerator() -> Accelerator:
    """The GPU of this process."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    capability = (properties.major, properties.minor)
    return as_its_kind(identify_accelerator(properties.name, properties.total_memory / GIB, capability))


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
