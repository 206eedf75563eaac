"""Write `src/runner/spec/recipe.schema.json` from the classes of the installed libraries.

Needs the train extra, since the names, types, choices, defaults and explanations are read from TRL's `SFTConfig` and
`ModelConfig`, transformers' `BitsAndBytesConfig` and peft's `LoraConfig` themselves; those of our own sections come
from `runner.spec.recipe`, and those of `resources` from `resources_schema.py` beside this file.

    python tools/generate_schema.py            write the file
    python tools/generate_schema.py --check    exit 1 if the file is not current
"""

import argparse
import ast
import dataclasses
import importlib.metadata
import inspect
import json
import re
import sys
import typing
from pathlib import Path
from typing import Any

from annotations_schema import Schema, explained, fields_of, of_field, of_type
from resources_schema import RESOURCES

from runner.spec import recipe

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src/runner/spec/recipe.schema.json"

_POSITIVE: Schema = {"minimum": 1}
_NOT_NEGATIVE: Schema = {"minimum": 0}
_ABOVE_ZERO: Schema = {"exclusiveMinimum": 0}
_BELOW_ONE: Schema = {"minimum": 0, "exclusiveMaximum": 1}
_SEED: Schema = {"minimum": 0, "maximum": 2**32 - 1}  # numpy.random.seed takes no more
_PATH = {"minLength": 1}

# What the annotations leave open: bounds, and types that the classes take besides those they declare.
TRAINING_BOUNDS: dict[str, Schema] = {
    "per_device_train_batch_size": _POSITIVE,
    "per_device_eval_batch_size": _POSITIVE,
    "gradient_accumulation_steps": _POSITIVE,
    "num_train_epochs": _ABOVE_ZERO,
    "max_steps": {"minimum": -1},
    "learning_rate": _NOT_NEGATIVE,
    "warmup_steps": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "adam_beta1": _BELOW_ONE,
    "adam_beta2": _BELOW_ONE,
    "adam_epsilon": _NOT_NEGATIVE,
    "max_grad_norm": _NOT_NEGATIVE,
    "label_smoothing_factor": _BELOW_ONE,
    "neftune_noise_alpha": _NOT_NEGATIVE,
    "torch_empty_cache_steps": _POSITIVE,
    "logging_steps": _ABOVE_ZERO,
    "eval_steps": _NOT_NEGATIVE,
    "eval_delay": _NOT_NEGATIVE,
    "eval_accumulation_steps": _POSITIVE,
    "save_steps": _ABOVE_ZERO,
    "save_total_limit": _POSITIVE,
    "seed": _SEED,
    "data_seed": _SEED,
    "dataloader_num_workers": _NOT_NEGATIVE,
    "dataloader_prefetch_factor": _POSITIVE,
    "ddp_bucket_cap_mb": _POSITIVE,
    "ddp_timeout": _POSITIVE,
    "dataset_num_proc": _POSITIVE,
    "max_length": _POSITIVE,
    "dataset_text_field": _PATH,
    "fsdp": {"type": ["array", "boolean", "null", "string"]},  # transformers still translates its older forms
    "do_eval": {"type": ["boolean", "null"]},
    "resume_from_checkpoint": {"type": ["boolean", "null", "string"]},  # as `Trainer.train` takes it
    "activation_checkpointing": {"type": ["boolean", "null"]},
    "gradient_checkpointing": {"type": ["boolean", "null"]},
}
ADAPTER_BOUNDS: dict[str, Schema] = {
    "r": _POSITIVE,
    "lora_dropout": _BELOW_ONE,
    "lora_alpha": {"type": "number", **_ABOVE_ZERO},
    "qalora_group_size": _POSITIVE,
}
INIT_LORA_WEIGHTS_PATTERN = "pissa_niter_[number of iters]"  # peft's Literal holds this text for a family of names
MODEL_BOUNDS: dict[str, Schema] = {"model_name_or_path": {"type": "string", **_PATH}}

# bitsandbytes' arguments have no annotations.
BITSANDBYTES_TYPES: dict[str, Any] = {
    "load_in_8bit": bool,
    "load_in_4bit": bool,
    "llm_int8_threshold": float,
    "llm_int8_skip_modules": list[str] | None,
    "llm_int8_enable_fp32_cpu_offload": bool,
    "llm_int8_has_fp16_weight": bool,
    "bnb_4bit_compute_dtype": str | None,
    "bnb_4bit_quant_type": str,
    "bnb_4bit_use_double_quant": bool,
    "bnb_4bit_quant_storage": str | None,
}

OUR_TRAINING: dict[str, Schema] = {
    "effective_batch_size": {
        "description": "Samples in one optimizer step, over all devices: kept whatever the GPU is.",
        "type": "integer",
        **_POSITIVE,
    },
    "early_stopping_patience": {
        "description": "Stop after this many evaluations in a row without a better `metric_for_best_model`.",
        "type": ["integer", "null"],
        **_POSITIVE,
    },
    "early_stopping_threshold": {
        "description": "The least improvement that early stopping counts as better.",
        "type": "number",
        "default": 0.0,
        **_NOT_NEGATIVE,
    },
}
OURS_BOUNDS: dict[tuple[str, str], Schema] = {
    ("DataSource", "path"): _PATH,
    ("DataSource", "sample"): _ABOVE_ZERO,
    ("Data", "eval_from_train"): _ABOVE_ZERO,
    ("Checkpoint", "save_steps"): _POSITIVE,
    ("Checkpoint", "save_minutes"): _ABOVE_ZERO,
    ("Checkpoint", "save_total_limit"): _POSITIVE,
    ("Evaluate", "max_new_tokens"): _POSITIVE,
}


def docstrings(cls: type) -> dict[str, str]:
    """The text under each field of one of our dataclasses."""
    [definition] = ast.parse(inspect.getsource(cls)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = inspect.cleandoc(following.value.value)
    return found


def ours(cls: type) -> Schema:
    """A mapping with the fields of one of our dataclasses."""
    texts, hints = docstrings(cls), typing.get_type_hints(cls)
    properties = {
        field.name: {"description": " ".join(texts[field.name].replace("``", "`").split())}
        | of_field(field, hints[field.name])
        | OURS_BOUNDS.get((cls.__name__, field.name), {})
        for field in dataclasses.fields(cls)
    }
    required = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": required} if required else {}),
        "properties": properties,
    }


def data_section() -> Schema:
    """`data`, in the form that people write: `eval` is a list, or a mapping with `from_train`."""
    source = ours(recipe.DataSource)
    section = ours(recipe.Data)
    held_out = section["properties"].pop("eval_from_train")
    del held_out["default"]
    section["properties"]["train"] |= {"items": source, "minItems": 1}
    section["properties"]["eval"] = {
        "description": "Entries like `train`'s, or `{from_train: …}`.",
        "type": ["array", "object"],
        "items": source,
        "additionalProperties": False,
        "required": ["from_train"],
        "properties": {"from_train": held_out | {"type": "number"}},
    }
    return section


def bitsandbytes_fields() -> dict[str, Schema]:
    """bitsandbytes' arguments; the text of each is in the class's docstring."""
    from transformers import BitsAndBytesConfig

    texts = dict(
        re.findall(
            r"^ {4,8}(\w+) \(`.*?\):\n((?: {8,}.+\n?)+)", inspect.cleandoc(BitsAndBytesConfig.__doc__ or ""), re.M
        )
    )
    parameters = inspect.signature(BitsAndBytesConfig).parameters
    names = [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    return {
        name: explained(texts.get(name)) | of_type(BITSANDBYTES_TYPES[name]) | {"default": parameters[name].default}
        for name in names
    }


def training_section() -> Schema:
    """Every field of `SFTConfig`, and ours."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
    from trl import SFTConfig

    properties = fields_of(SFTConfig, TRAINING_BOUNDS)
    trackers = ["none", *sorted(INTEGRATION_TO_CALLBACK)]
    replace_type(
        properties["report_to"],
        {"anyOf": [{"enum": ["all", *trackers]}, {"type": "array", "items": {"enum": ["all", *trackers]}}]},
    )
    replace_type(properties["parallelism_config"], {"type": "null"})  # an object of accelerate's, not a mapping
    return section("The method's own settings, under TRL's and transformers' names.", {**OUR_TRAINING, **properties})


def adapter_section() -> Schema:
    """Every field of `LoraConfig`."""
    from peft import LoraConfig

    properties = fields_of(LoraConfig, ADAPTER_BOUNDS)
    choices = [choice for choice in properties["init_lora_weights"]["enum"] if choice != INIT_LORA_WEIGHTS_PATTERN]
    replace_type(
        properties["init_lora_weights"],
        # `lora_ga` is missing from peft's annotation, and taken all the same.
        {
            "anyOf": [
                {"enum": [*dict.fromkeys([*choices, "lora_ga"])]},
                {"type": "string", "pattern": "^pissa_niter_[0-9]+$"},
            ]
        },
    )
    adapter = section("A LoRA adapter, under peft's names; leave it out for full fine-tuning.", properties)
    return adapter | {"type": ["null", "object"]}


def model_section() -> Schema:
    """Every field of `ModelConfig` and every argument of `BitsAndBytesConfig`; TRL's word counts where both have it."""
    from trl import ModelConfig

    properties = {**bitsandbytes_fields(), **fields_of(ModelConfig, MODEL_BOUNDS)}
    properties["model_name_or_path"].pop("default")
    order = dict.fromkeys([*fields_of(ModelConfig, {}), *properties])
    model = section(
        "What is fine-tuned, under TRL's and bitsandbytes' names.", {name: properties[name] for name in order}
    )
    return model | {"required": ["model_name_or_path"]}


def replace_type(schema: Schema, replacement: Schema) -> None:
    """Keep what explains a setting, and say anew which values it takes."""
    for key in set(schema) - {"description", "default"}:
        del schema[key]
    schema.update(replacement)


def section(description: str, properties: dict[str, Schema]) -> Schema:
    """A mapping with these keys and no others."""
    return {"description": description, "type": "object", "additionalProperties": False, "properties": properties}


def generate() -> str:
    """The whole schema, as the file holds it: one line, since it is read at each check."""
    texts = docstrings(recipe.Recipe)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:runner:recipe",
        "$comment": "Generated by tools/generate_schema.py from "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("trl", "transformers", "peft")),
        "title": "Recipe",
        "description": "What to train.",
        "type": "object",
        "additionalProperties": False,
        "required": ["method", "model", "data"],
        "properties": {
            "name": {
                "description": texts["name"].replace("``", "`"),
                "type": "string",
                "pattern": "^[a-z0-9][a-z0-9._-]{0,99}$",
            },
            "method": {"description": texts["method"]} | of_type(recipe.Method),
            "model": model_section(),
            "adapter": adapter_section(),
            "data": {"description": texts["data"]} | data_section(),
            "training": training_section(),
            "checkpoint": {"description": texts["checkpoint"]} | ours(recipe.Checkpoint),
            "evaluate": {"description": texts["evaluate"]} | ours(recipe.Evaluate),
            "export": {"description": texts["export"]} | ours(recipe.Export),
            "resources": RESOURCES,
        },
    }
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"


def main() -> int:
    """Write the schema, or compare it."""
    parser = argparse.ArgumentParser(description="Write src/runner/spec/recipe.schema.json from the libraries.")
    parser.add_argument("--check", action="store_true", help="exit 1 if the file is not current")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        TARGET.write_text(text, encoding="utf-8")
    elif text != TARGET.read_text(encoding="utf-8"):
        print(f"{TARGET.name} is not current: run python tools/generate_schema.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
