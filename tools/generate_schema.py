"""Write `src/runner/recipe/recipe.schema.json` from the classes of the installed libraries.

Needs the train extra, since the names, types, choices, defaults and explanations are read from TRL's config classes and
`ModelConfig`, transformers' `BitsAndBytesConfig` and peft's `LoraConfig` themselves; those of our own sections come
from `runner.recipe.recipe`, those of `training` from `training_schema.py`, and those of `resources` from
`resources_schema.py`, both beside this file.

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

from annotations_schema import (
    ABOVE_ZERO,
    BELOW_ONE,
    PATH,
    POSITIVE,
    Schema,
    explained,
    fields_of,
    of_field,
    of_type,
    replace_type,
    section,
)
from resources_schema import RESOURCES, SKY
from training_schema import training_by_method

from runner.recipe import recipe
from runner.recipe.loading.stages import STAGE_NAME
from runner.recipe.webhooks import VARIABLE

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src/runner/recipe/recipe.schema.json"

# What the annotations leave open: bounds, and types that the classes take besides those they declare.
ADAPTER_BOUNDS: dict[str, Schema] = {
    "r": POSITIVE,
    "lora_dropout": BELOW_ONE,
    "lora_alpha": {"type": "number", **ABOVE_ZERO},
    "qalora_group_size": POSITIVE,
}
INIT_LORA_WEIGHTS_PATTERN = "pissa_niter_[number of iters]"  # peft's Literal holds this text for a family of names
MODEL_BOUNDS: dict[str, Schema] = {"model_name_or_path": {"type": "string", **PATH}}

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

OURS_BOUNDS: dict[tuple[str, str], Schema] = {
    ("DataSource", "path"): PATH,
    ("DataSource", "sample"): ABOVE_ZERO,
    ("DataSource", "template"): {
        "additionalProperties": {
            "type": ["array", "string"],
            "items": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    },
    ("DataSource", "filter"): {
        "minProperties": 1,
        "additionalProperties": {
            "type": ["array", "boolean", "null", "number", "string"],
            "items": {"type": ["boolean", "null", "number", "string"]},
            "minItems": 1,
        },
    },
    ("DataSource", "think"): {
        "additionalProperties": False,
        "required": ["prompt", "reasoning"],
        "properties": {name: {"type": "string"} for name in ("prompt", "reasoning", "answer")},
    },
    ("Data", "eval_from_train"): ABOVE_ZERO,
    ("Checkpoint", "save_steps"): POSITIVE,
    ("Checkpoint", "save_minutes"): ABOVE_ZERO,
    ("Checkpoint", "save_total_limit"): POSITIVE,
    ("Checkpoint", "durable_minutes"): ABOVE_ZERO,
    ("Watchdog", "timeout_seconds"): {"minimum": 0},
    ("Watchdog", "median_steps"): {"minimum": 1},
    ("Evaluate", "max_new_tokens"): POSITIVE,
    ("Notification", "secret"): {"pattern": f"^{VARIABLE.pattern}$"},
    ("Notification", "events"): {"minItems": 1},
    ("ExactMatch", "answer"): PATH,
    ("ExactMatch", "max_samples"): POSITIVE,
    ("ExactMatch", "max_new_tokens"): POSITIVE,
}


def docstrings(cls: type) -> dict[str, str]:
    """Return the docstring under each field of one of our dataclasses."""
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
    """Return the schema of a mapping with the fields of one of our dataclasses."""
    texts, hints = docstrings(cls), typing.get_type_hints(cls)
    properties = {
        field.name: {"description": " ".join(texts[field.name].replace("``", "`").split())}
        | of_field(field, hints[field.name])
        | OURS_BOUNDS.get((cls.__name__, field.name), {})
        for field in dataclasses.fields(cls)
        if recipe.INTERNAL not in field.metadata
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
    """Return the schema of `data` as users write it: `eval` is a list, or a mapping with `from_train`."""
    source = ours(recipe.DataSource)
    section = ours(recipe.Data)
    held_out = section["properties"].pop("eval_from_train")
    del held_out["default"], section["required"]  # needed once all is laid together, see `stages`
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
    """Return the schema of bitsandbytes' arguments, with the texts from the class's docstring."""
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


def adapter_section() -> Schema:
    """Return the schema of every field of `LoraConfig`."""
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
    """Return the schema of the fields of `ModelConfig` and the arguments of `BitsAndBytesConfig`; TRL's win."""
    from trl import ModelConfig

    properties = {**bitsandbytes_fields(), **fields_of(ModelConfig, MODEL_BOUNDS)}
    properties["model_name_or_path"].pop("default")
    order = dict.fromkeys([*fields_of(ModelConfig, {}), *properties])
    model = section(
        "What is fine-tuned, under TRL's and bitsandbytes' names.", {name: properties[name] for name in order}
    )
    model["properties"] |= {
        "run": {
            "type": ["null", "string"],
            "description": "Start from this run's model (a warm start): its id, its beginning or end, or `last`.",
        },
        "checkpoint": {
            "type": ["integer", "null", "string"],
            "description": "Which of the run's checkpoints: `best`, `last`, a step, or STAGE-STEP; null: the model "
            "that it ended with.",
        },
    }
    return model | {"anyOf": [{"required": ["model_name_or_path"]}, {"required": ["run"]}]}


def evaluate_section() -> Schema:
    """Return the schema of `evaluate` with `exact_match`."""
    section = ours(recipe.Evaluate)
    section["properties"]["exact_match"]["properties"] = ours(recipe.ExactMatch)["properties"]
    return section


def stages_section(method: Schema) -> Schema:
    """Return the schema of `stages`: a stage may have the sections that the recipe has as defaults of all stages."""
    return {
        "description": "Methods one after the other, each from where the one before it ended; the sections beside are "
        "the defaults of all stages.",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["method"],
            "properties": {
                "name": {
                    "description": "Names the stage in checkpoints and metrics; its method, if left out.",
                    "type": "string",
                    "pattern": STAGE_NAME,
                },
                "method": method,
                "training": {"type": "object"},
                **{name: {"$ref": f"#/properties/{name}"} for name in ("adapter", "data", "checkpoint", "evaluate")},
            },
            "allOf": [{"$ref": "#/$defs/methods"}],
        },
    }


def generate() -> str:
    """Return the whole schema as the file's text: one line, since each check reads it."""
    texts = docstrings(recipe.Recipe)
    method = {"description": texts["method"]} | of_type(recipe.Method)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:runner:recipe",
        "$comment": "Generated by tools/generate_schema.py from "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("trl", "transformers", "peft")),
        "title": "Recipe",
        "description": "What to train.",
        "type": "object",
        "additionalProperties": False,
        "required": ["model"],
        "if": {"required": ["stages"]},
        "then": {"properties": {"method": False}},
        "else": {"required": ["method", "data"], "properties": {"data": {"required": ["train"]}}},
        "properties": {
            "name": {
                "description": texts["name"].replace("``", "`"),
                "type": "string",
                "pattern": "^[a-z0-9][a-z0-9._-]{0,99}$",
            },
            "method": method,
            "model": model_section(),
            "adapter": adapter_section(),
            "data": {"description": texts["data"]} | data_section(),
            "training": {"description": texts["training"].replace("``", "`"), "type": "object"},
            "checkpoint": {"description": texts["checkpoint"]} | ours(recipe.Checkpoint),
            "watchdog": {"description": texts["watchdog"]} | ours(recipe.Watchdog),
            "evaluate": {"description": texts["evaluate"]} | evaluate_section(),
            "export": {"description": texts["export"]} | ours(recipe.Export),
            # No default, so that `run.json` lists it among the settings only where a recipe has it.
            "notify": {"description": texts["notify"], "type": "array", "items": ours(recipe.Notification)},
            "resources": RESOURCES,
            "sky": SKY,
            "stages": stages_section(method),
        },
        **training_by_method(),
    }
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"


def main() -> int:
    """Write the schema, or compare it with the file."""
    parser = argparse.ArgumentParser(description="Write src/runner/recipe/recipe.schema.json from the libraries.")
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
