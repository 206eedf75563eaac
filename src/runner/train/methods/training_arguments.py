"""The arguments of every trainer's config: the recipe's settings, the batch split, precision, and exact resume."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from runner.recipe.batch import split_batch
from runner.recipe.recipe import Recipe
from runner.train.devices.kernels import check_compile, uses_liger
from runner.train.models.precision import precision
from runner.train.stages.context import LOGGING_STEPS

OUR_KEYS = ("effective_batch_size", "strategy", "early_stopping_patience", "early_stopping_threshold", "train_on_turns")
"""Keys of `training:` that TRL's config classes do not have."""


def trainer_arguments(recipe: Recipe, output_dir: Path, *, config: type[TrainingArguments]) -> dict[str, Any]:
    """Return arguments for a config class of TRL.

    Args:
        recipe: the stage's, with its batch split over the processes.
        output_dir: the trainer's folder.
        config: the method's config class.

    Raises:
        UserError: the recipe asks for kernels that this machine cannot run.
    """
    training = {key: value for key, value in recipe.training.items() if key not in OUR_KEYS}
    check_compile(training)
    micro_batch, accumulation = split_batch(recipe.training)
    return {
        **precision(recipe.training),
        # transformers computes in bfloat16 without an accelerator only if it is told to use the CPU.
        **({} if torch.accelerator.is_available() else {"use_cpu": True}),
        **training,
        **_activation_checkpointing(training, config),
        "use_liger_kernel": uses_liger(recipe),
        "output_dir": str(output_dir),
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        # Otherwise it would be the `logging_steps` that are set below.
        "eval_steps": training.get("eval_steps") or training.get("logging_steps", LOGGING_STEPS),
        "metric_for_best_model": training.get("metric_for_best_model", "loss" if tracks_best(recipe) else None),
        # `SaveSchedule` decides when to save; the best model comes from the store.
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "restore_callback_states_from_checkpoint": True,
        # One record per step; `RunBinding.is_logging_step` selects those for trackers and the log.
        "logging_strategy": "steps",
        "logging_steps": 1,
        # A loss that is not a number is recorded as it is, not as the mean of those before it.
        "logging_nan_inf_filter": training.get("logging_nan_inf_filter", False),
        "report_to": "none",
        # A search for unused parameters walks over the graph in each step, and these models have none.
        "ddp_find_unused_parameters": training.get("ddp_find_unused_parameters") or False,
        "disable_tqdm": True,
        "dataloader_pin_memory": training.get("dataloader_pin_memory", torch.cuda.is_available()),
    }


def tracks_best(recipe: Recipe) -> bool:
    """Whether the best evaluation's checkpoint matters."""
    training = recipe.training
    return any(
        training.get(key) for key in ("load_best_model_at_end", "metric_for_best_model", "early_stopping_patience")
    )


def _activation_checkpointing(training: dict[str, Any], config: type[TrainingArguments]) -> dict[str, Any]:
    """Return the recipe's ``gradient_checkpointing`` settings under transformers' new names.

    TRL sets its default by the old name, so each run would begin with a warning from transformers.
    """
    default = config.__dataclass_fields__["gradient_checkpointing"].default
    renamed = {"activation_checkpointing": training.get("gradient_checkpointing", default)}
    if "gradient_checkpointing_kwargs" in training:
        renamed["activation_checkpointing_kwargs"] = training["gradient_checkpointing_kwargs"]
    return {name: value for name, value in renamed.items() if training.get(name) is None}
