"""The smallest change that makes a recipe fit: in the recipe's own names, and it does."""

from typing import Any

import pytest

from runner.fit.accelerators import ACCELERATORS
from runner.fit.changes import nearest_change
from runner.fit.fit import workloads
from runner.fit.model_shape import bundled_config
from runner.recipe.recipe import Data, DataSource, Recipe

LORA = {"r": 16, "target_modules": "all-linear"}


def change(gpu: str, name: str = "Qwen/Qwen3-8B", devices: int = 1, **parts: Any) -> str | None:
    """The change for a recipe with these parts."""
    made = {
        "name": "r",
        "method": "sft",
        "model": {"model_name_or_path": name},
        "data": Data(train=(DataSource(path="a/b"),)),
        "adapter": LORA,
        "training": {"effective_batch_size": 16, "max_length": 2048},
    }
    recipe = Recipe(**{**made, **parts})
    works = workloads(recipe, bundled_config(name) or {})
    return nearest_change(works, ACCELERATORS[gpu], devices=devices, nodes=1)


@pytest.mark.parametrize(
    ("gpu", "parts", "words"),
    [
        ("T4", {}, "`model.load_in_4bit: true`"),
        ("A100", {}, None),  # fits as it is
        (
            "L4",
            {"training": {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 2, "max_length": 2048}},
            "`training.per_device_train_batch_size: 1` and `training.gradient_accumulation_steps: 32`",
        ),
        (
            "A100",
            {"training": {"effective_batch_size": 2, "max_length": 8192, "gradient_checkpointing": False}},
            "`training.gradient_checkpointing: true`",
        ),
        ("L4", {"training": {"effective_batch_size": 1, "max_length": 16384}}, "`training.max_length: 6144`"),
        ("H100", {"adapter": None}, "an `adapter` (r: 16, target_modules: all-linear)"),
        ("T4", {"adapter": None}, "an `adapter` and `model.load_in_4bit: true`"),
    ],
)
def test_the_smallest_change_is_said(gpu: str, parts: dict[str, Any], words: str | None) -> None:
    assert change(gpu, **parts) == words
