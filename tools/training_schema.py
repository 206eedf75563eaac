"""The schema of a recipe's `training`: the keys of the method's own TRL config class, and ours.

What all config classes have alike stands once, under ``$defs``; `runner.recipe.schema` puts the pieces together.
"""

import dataclasses
import re
from typing import Any

from annotations_schema import (
    ABOVE_ZERO,
    BELOW_ONE,
    NOT_NEGATIVE,
    PATH,
    POSITIVE,
    SEED,
    Schema,
    fields_of,
    replace_type,
    section,
)

from runner.recipe.strategy import STRATEGIES

DEFAULTS: dict[str, dict[str, Any]] = {
    "sft": {},
    # Raw text: documents fill sequences one after the other, and what is longer than one goes on in the next.
    "cpt": {"packing": True, "packing_strategy": "bfd_split"},
    "dpo": {},
    "grpo": {},
}
"""Each method, with its defaults that differ from its config class's (the method's script sets them too)."""

# What the annotations leave open: bounds, and types that the classes take besides those they declare.
BOUNDS: dict[str, Schema] = {
    "per_device_train_batch_size": POSITIVE,
    "per_device_eval_batch_size": POSITIVE,
    "gradient_accumulation_steps": POSITIVE,
    "num_train_epochs": ABOVE_ZERO,
    "max_steps": {"minimum": -1},
    "learning_rate": NOT_NEGATIVE,
    "warmup_steps": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "adam_beta1": BELOW_ONE,
    "adam_beta2": BELOW_ONE,
    "adam_epsilon": NOT_NEGATIVE,
    "max_grad_norm": NOT_NEGATIVE,
    "label_smoothing_factor": BELOW_ONE,
    "neftune_noise_alpha": NOT_NEGATIVE,
    "torch_empty_cache_steps": POSITIVE,
    "logging_steps": ABOVE_ZERO,
    "eval_steps": NOT_NEGATIVE,
    "eval_delay": NOT_NEGATIVE,
    "eval_accumulation_steps": POSITIVE,
    "save_steps": ABOVE_ZERO,
    "save_total_limit": POSITIVE,
    "seed": SEED,
    "data_seed": SEED,
    "dataloader_num_workers": NOT_NEGATIVE,
    "dataloader_prefetch_factor": POSITIVE,
    "ddp_bucket_cap_mb": POSITIVE,
    "ddp_timeout": POSITIVE,
    "dataset_num_proc": POSITIVE,
    "max_length": POSITIVE,
    "dataset_text_field": PATH,
    "fsdp": {"type": ["array", "boolean", "null", "string"]},  # transformers still translates its older forms
    "do_eval": {"type": ["boolean", "null"]},
    "resume_from_checkpoint": {"type": ["boolean", "null", "string"]},  # as `Trainer.train` takes it
    "activation_checkpointing": {"type": ["boolean", "null"]},
    "gradient_checkpointing": {"type": ["boolean", "null"]},
}

OURS: dict[str, Schema] = {
    "strategy": {
        "description": "How several GPUs share the training: `ddp`, or DeepSpeed's ZeRO with or without CPU offload; "
        "null: chosen by what there is.",
        "enum": [*STRATEGIES, None],
        "default": None,
    },
    "effective_batch_size": {
        "description": "Samples in one optimizer step, over all devices: kept whatever the GPU is.",
        "type": "integer",
        **POSITIVE,
    },
    "early_stopping_patience": {
        "description": "Stop after this many evaluations in a row without a better `metric_for_best_model`.",
        "type": ["integer", "null"],
        **POSITIVE,
    },
    "early_stopping_threshold": {
        "description": "The least improvement that early stopping counts as better.",
        "type": "number",
        "default": 0.0,
        **NOT_NEGATIVE,
    },
}


TRAIN_ON_TURNS: Schema = {
    "description": "Which of the assistant's turns the loss is on, with any chat template: all of them (as "
    "`assistant_only_loss: true`), the last of each conversation, or those with `train: true` or `weight: 1`; null: "
    "the loss is on all tokens of conversations.",
    "enum": ["all", "last", "marked", None],
    "default": None,
}

REWARD_FUNCS: Schema = {
    "description": "The reward functions, each a Python file's (`rewards.py:correct`) or built in "
    "(`builtin:exact-answer`); their rewards are added up.",
    "type": "array",
    "items": {"type": "string", **PATH},
    "minItems": 1,
}


def config_class(method: str) -> type:
    """Return TRL's config class for a method."""
    import trl

    classes: dict[str, type] = {
        "sft": trl.SFTConfig,
        "cpt": trl.SFTConfig,
        "dpo": trl.DPOConfig,
        "grpo": trl.GRPOConfig,
    }
    return classes[method]


def training_by_method() -> Schema:
    """Return the schema's part beside `properties`: for each method, the keys that `training` may have."""
    properties = {method: _properties(config_class(method)) for method in DEFAULTS}
    first = next(iter(properties.values()))
    shared = {
        name: schema
        for name, schema in first.items()
        if all(others.get(name) == schema for others in properties.values())
    }
    definitions: dict[str, Schema] = {"shared": {"properties": shared}}
    conditions = []
    for method, own in properties.items():
        cls = config_class(method)
        if cls.__name__ not in definitions:
            definitions[cls.__name__] = {
                "$ref": "#/$defs/shared",
                **section(
                    f"The names of TRL's `{cls.__name__}`, and ours.",
                    {name: True if name in shared else schema for name, schema in own.items()},
                ),
            }
        changed = {name: {"default": value} for name, value in DEFAULTS[method].items()}
        chosen: Schema = {"$ref": f"#/$defs/{cls.__name__}", **({"properties": changed} if changed else {})}
        conditions.append(
            {
                "if": {"properties": {"method": {"const": method}}, "required": ["method"]},
                "then": {"properties": {"training": chosen}},
            }
        )
    definitions["methods"] = {"allOf": conditions}
    return {"allOf": [{"$ref": "#/$defs/methods"}], "$defs": definitions}


def _properties(cls: type) -> dict[str, Schema]:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    properties = fields_of(cls, BOUNDS)
    trackers = ["none", *sorted(INTEGRATION_TO_CALLBACK)]
    replace_type(
        properties["report_to"],
        {"anyOf": [{"enum": ["all", *trackers]}, {"type": "array", "items": {"enum": ["all", *trackers]}}]},
    )
    if cls.__name__ == "DPOConfig":
        # Its explanation names what there is; its annotation does not, nor that one name will do.
        (explanation,) = (field.metadata["help"] for field in dataclasses.fields(cls) if field.name == "loss_type")
        choices: Schema = {"enum": re.findall(r"`'(\w+)'`", explanation)}
        replace_type(properties["loss_type"], {"anyOf": [choices, {"type": "array", "items": choices, "minItems": 1}]})
    replace_type(properties["parallelism_config"], {"type": "null"})  # an object of accelerate's, not a mapping
    if cls.__name__ == "GRPOConfig":
        replace_type(properties["scale_rewards"], {"enum": [True, False, "group", "batch", "none"]})
        return {**OURS, "reward_funcs": REWARD_FUNCS, **properties}
    turns = {"train_on_turns": TRAIN_ON_TURNS} if cls.__name__ == "SFTConfig" else {}
    return {**OURS, **turns, **properties}
