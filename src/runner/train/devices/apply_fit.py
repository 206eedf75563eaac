"""Apply the fit (`runner.fit.fit`) to a recipe, for the GPU of this process. On a CPU nothing changes."""

import logging
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

logger = logging.getLogger(__name__)

_USUAL_SHARE = 0.9
"""A GPU with this share of its model's usual memory is taken to have all of it: drivers differ by some megabytes, and
the same GPU must be fitted alike each time. One with less is a slice of a GPU."""


def apply_fit(
    recipe: Recipe,
    config: Mapping[str, Any],
    accelerator: Accelerator,
    *,
    devices: int,
    nodes: int,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> tuple[Recipe, dict[str, Any]]:
    """Return a recipe fitted to a GPU, and the record of the fit; log the choice.

    The settings of an earlier attempt on the same GPUs are taken again.

    Args:
        recipe: the stage's.
        config: the model's `config.json`.
        accelerator: the GPU.
        devices: GPUs on each machine.
        nodes: machines.
        earlier: the fit records of earlier attempts, oldest first.
    """
    chosen = fit(recipe, config, accelerator, devices=devices, nodes=nodes)
    settings = dict(chosen.settings)
    same_gpus = [
        record for record in earlier if (record["accelerators"], record["nodes"]) == (chosen.accelerators, nodes)
    ]
    if same_gpus:
        settings = dict(same_gpus[-1]["settings"])
    _log_choice(chosen, settings)
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
    """Return the GPU of this process."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    capability = (properties.major, properties.minor)
    return with_usual_memory(identify_accelerator(properties.name, properties.total_memory / GIB, capability))


def with_usual_memory(accelerator: Accelerator) -> Accelerator:
    """Return the GPU with its model's usual memory, if it has about that much."""
    usual = ACCELERATORS.get(accelerator.name)
    if usual is None or accelerator.memory_gib < _USUAL_SHARE * usual.memory_gib:
        return accelerator
    return replace(accelerator, memory_gib=min(accelerator.memory_gib, usual.memory_gib))


def avoid_math_attention() -> None:
    """Make transformers repeat keys and values for each query head, instead of leaving that to torch.

    On GPUs without its flash kernel (before Ampere) torch can only do that in its math kernel, which holds the scores
    of all pairs of tokens. With repeated keys and values it uses the memory-efficient kernel.
    """
    sdpa_attention.use_gqa_in_sdpa = lambda attention_mask, key, value: False


def model_config(recipe: Recipe, cache_dir: Path) -> Mapping[str, Any] | None:
    """Return the `config.json` of a recipe's model; None if it cannot be read.

    Args:
        recipe: names the model.
        cache_dir: where a built-in model is made.
    """
    name = str(recipe.model["model_name_or_path"])
    source = str(materialize(name, cache_dir)) if is_builtin(name) else name
    try:
        config: Mapping[str, Any] = PretrainedConfig.get_config_dict(
            source, revision=recipe.model.get("model_revision") or "main"
        )[0]
    except (OSError, ValueError):
        return None  # loading the model will say what is wrong
    return config


def _log_choice(chosen: Fit, settings: Mapping[str, Any]) -> None:
    size = f"about {chosen.memory_gib:.1f} of {chosen.capacity_gib:.1f} GiB"
    if settings != chosen.settings:
        words = ", ".join(f"{path.partition('.')[2]} {value}" for path, value in settings.items())
        logger.info(f"fit: {chosen.accelerators}: as the attempts before: {words}")
    elif chosen.fits:
        logger.info(f"fit: {chosen.accelerators}: {chosen.reason}; {size}")
    else:
        logger.warning(f"{chosen.accelerators}: {chosen.reason}. Trying all the same")
    for note in chosen.notes:
        logger.info(f"fit: {note}")
