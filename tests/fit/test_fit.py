"""The fit: what follows the GPU, what stays the recipe's, and what is said where it does not fit."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.fit.accelerators import ACCELERATORS
from runner.fit.fit import MARGIN, Fit, apply_fit_settings, fit
from runner.fit.model_shape import bundled_config
from runner.recipe.loading.finder import available_recipes, bundled_recipes_folder
from runner.recipe.loading.load import load_recipe
from runner.recipe.recipe import Data, DataSource, Recipe
from support.paths import ROOT

QWEN_8B = "unsloth/DeepSeek-R1-0528-Qwen3-8B-unsloth-bnb-4bit"
LORA = {"r": 16, "target_modules": "all-linear"}


def recipe(name: str = "unsloth/Llama-3.2-1B-Instruct", **parts: Any) -> Recipe:
    """A recipe with an effective batch of 16, unless it says otherwise."""
    made = {
        "name": "r",
        "method": "sft",
        "model": {"model_name_or_path": name},
        "data": Data(train=(DataSource(path="a/b"),)),
        "adapter": LORA,
        "training": {"effective_batch_size": 16, "max_length": 2048},
    }
    return Recipe(**{**made, **parts})


def fit_of(one: Recipe, gpu: str, devices: int = 1, nodes: int = 1) -> Fit:
    """Its fit to a GPU of the table, with the bundled config."""
    config = bundled_config(str(one.model["model_name_or_path"]))
    assert config is not None
    return fit(one, config, ACCELERATORS[gpu], devices=devices, nodes=nodes)


def shipped() -> Iterator[Recipe]:
    """Every shipped recipe."""
    root = ROOT
    for name in available_recipes(root):
        yield load_recipe(str(bundled_recipes_folder() / f"{name}.yaml"), cwd=root).recipe


SHIPPED = {one.name: one for one in shipped()}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_is_fitted_to_every_gpu(name: str) -> None:
    one = SHIPPED[name]
    for gpu, accelerator in ACCELERATORS.items():
        for devices in (1, 2, 4, 8):
            for nodes in (1, 2):
                found = fit_of(one, gpu, devices, nodes)
                assert found.reason
                if found.fits:
                    assert found.memory_gib <= accelerator.memory_gib * (1 - MARGIN) + 0.01
                    assert found.precision == ("bf16" if accelerator.bf16 else "fp16")
                    effective = one.in_order[0].training.get("effective_batch_size")
                    assert len(one.in_order) > 1 or effective in (None, found.effective_batch)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_fits_the_gpus_that_it_names(name: str) -> None:
    for gpu, count in SHIPPED[name].resources.get("accelerators", {}).items():
        found = fit_of(SHIPPED[name], gpu, count)
        assert found.fits, found.reason


def test_an_8b_qlora_with_two_rows_fits_a_t4() -> None:
    training = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "max_length": 2048}
    found = fit_of(recipe(QWEN_8B, training=training), "T4")
    assert found.fits, found.reason
    assert (found.micro_batch, found.accumulation, found.gradient_checkpointing) == (2, 4, True)
    assert "T4 has no bfloat16: float16 with loss scaling" in found.notes


def test_an_8b_model_in_16_bits_does_not_fit_a_t4_and_the_reason_says_what_would_help() -> None:
    found = fit_of(recipe("Qwen/Qwen3-8B"), "T4")
    assert not found.fits
    assert found.reason.startswith("needs ")
    assert "`load_in_4bit: true` would need less" in found.reason


def test_all_weights_of_an_8b_model_are_shared_out_over_gpus() -> None:
    one = recipe("Qwen/Qwen3-8B", adapter=None)
    assert not fit_of(one, "H100").fits
    several = fit_of(one, "H100", 8)
    assert several.fits
    assert several.strategy in ("zero2", "zero3")
    assert several.settings["training.strategy"] == several.strategy


@pytest.mark.parametrize(
    ("training", "gpu", "split"),
    [
        ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}, "H100", (2, 8)),
        ({"effective_batch_size": 16, "per_device_train_batch_size": 4}, "H100", (4, 4)),
        ({"effective_batch_size": 16, "gradient_accumulation_steps": 16}, "H100", (1, 16)),
    ],
)
def test_the_recipes_own_split_is_kept(training: dict[str, int], gpu: str, split: tuple[int, int]) -> None:
    found = fit_of(recipe(training=training), gpu)
    assert (found.micro_batch, found.accumulation) == split
    assert not set(found.settings) & {f"training.{key}" for key in training if key != "effective_batch_size"}


def test_what_the_recipe_sets_is_kept_and_said_not_to_fit() -> None:
    training = {"effective_batch_size": 16, "per_device_train_batch_size": 16, "gradient_checkpointing": False}
    found = fit_of(recipe("Qwen/Qwen2.5-Coder-1.5B-Instruct", training=training), "T4")
    assert not found.fits
    assert (found.micro_batch, found.gradient_checkpointing) == (16, False)


@pytest.mark.parametrize(
    ("parts", "gpu", "reason"),
    [
        ({"training": {"bf16": True}}, "T4", "T4 has no bfloat16; write `fp16: true`"),
        (
            {"model": {"model_name_or_path": "Qwen/Qwen3-8B", "attn_implementation": "flash_attention_2"}},
            "V100",
            "V100 is too old for `attn_implementation: flash_attention_2`; write `sdpa`",
        ),
        (
            {"model": {"model_name_or_path": "Qwen/Qwen3-8B", "load_in_4bit": True}, "training": {"strategy": "zero3"}},
            "A100",
            "ZeRO-3 cannot share a quantized model's weights",
        ),
        (
            {"model": {"model_name_or_path": "Qwen/Qwen3-8B", "dtype": "bfloat16"}},
            "T4",
            "T4 has no bfloat16, which `model.dtype` asks for",
        ),
    ],
)
def test_what_a_gpu_cannot_do_is_said(parts: dict[str, Any], gpu: str, reason: str) -> None:
    found = fit_of(recipe(**parts), gpu)
    assert not found.fits
    assert found.reason.startswith(reason)


def test_zero_is_not_chosen_where_there_is_none() -> None:
    large = recipe("Qwen/Qwen3-8B", adapter=None)
    assert fit_of(large, "H100", 8).strategy != "ddp"
    for one in (replace(large, method="grpo"), replace(large, stage="second")):
        found = fit_of(one, "H100", 8)
        assert (found.strategy, found.fits) == ("ddp", False)


def test_a_deepspeed_configuration_of_the_users_own_counts() -> None:
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu"}}
    training = {"effective_batch_size": 16, "max_length": 2048, "gradient_checkpointing": True}
    one = recipe("Qwen/Qwen3-8B", adapter=None, training=training)
    own = replace(one, training={**one.training, "deepspeed": {"zero_optimization": zero}})
    found = fit_of(own, "A100", 8)
    assert found.strategy == "zero3_offload"
    assert "training.strategy" not in found.settings
    assert found.memory_gib < fit_of(replace(one, training={**one.training, "strategy": "zero3"}), "A100", 8).memory_gib


def test_gpus_that_do_not_divide_the_batch_are_refused_with_what_to_write() -> None:
    found = fit_of(recipe(), "A100", 3)
    assert not found.fits
    assert found.reason == "effective_batch_size: 16 is not divisible by devices = 3; write a multiple of 3"


def test_sizes_for_each_gpu_make_a_larger_step_on_more_of_them_and_that_is_said() -> None:
    training = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    found = fit_of(recipe(training=training), "A100", 8)
    assert found.effective_batch == 64
    assert any("make a step of 64 rows" in note for note in found.notes)


def test_a_frozen_base_is_loaded_in_16_bits_and_a_trained_one_stays() -> None:
    assert fit_of(recipe(), "A100").settings["model.dtype"] == "bfloat16"
    assert fit_of(recipe(), "T4").settings["model.dtype"] == "float16"
    assert "model.dtype" not in fit_of(recipe(adapter=None), "A100").settings


def test_a_smaller_evaluation_batch_is_said() -> None:
    one = recipe(
        QWEN_8B,
        data=Data(train=(DataSource(path="a/b"),), eval_from_train=0.1),
        training={"effective_batch_size": 8, "max_length": 2048, "eval_strategy": "epoch"},
    )
    tight = fit_of(replace(one, training={**one.training, "max_length": 16384}), "L4")
    assert tight.settings["training.per_device_eval_batch_size"] < 8
    assert any("at a time instead of 8" in note for note in tight.notes)
    assert "training.per_device_eval_batch_size" not in fit_of(one, "H200").settings


def test_the_worst_stage_decides() -> None:
    small, large = recipe(), recipe("Qwen/Qwen3-8B", adapter=None, stage="second")
    together = replace(small, model=large.model, stages=(replace(small, model=large.model), large))
    found = fit_of(together, "A100-80GB")
    assert found == fit_of(large, "A100-80GB")
    assert not found.fits


def test_a_fitted_recipe_fits_as_it_was_fitted() -> None:
    for gpu in ("T4", "A100"):
        first = fit_of(recipe(), gpu)
        again = fit_of(apply_fit_settings(recipe(), first.settings), gpu)
        assert (again.fits, again.micro_batch, again.accumulation) == (True, first.micro_batch, first.accumulation)
        assert again.memory_gib == first.memory_gib
        assert again.settings == {}


GOLDEN = {
    # gpu: (fits, micro-batch, accumulation, strategy, precision, checkpointing), of a 1B LoRA with 16 x 2048 tokens
    "T4:1": (True, 2, 8, "ddp", "fp16", False),
    "L4:1": (True, 4, 4, "ddp", "bf16", False),
    "A100:1": (True, 4, 4, "ddp", "bf16", False),
    "A100:8": (True, 2, 1, "ddp", "bf16", False),
    "H100:1": (True, 16, 1, "ddp", "bf16", False),
}


@pytest.mark.parametrize("machine", GOLDEN)
def test_a_1b_lora_is_fitted_as_it_was(machine: str) -> None:
    gpu, _, count = machine.partition(":")
    found = fit_of(recipe(), gpu, int(count))
    assert (
        *(found.fits, found.micro_batch, found.accumulation),
        *(found.strategy, found.precision, found.gradient_checkpointing),
    ) == GOLDEN[machine]


recipes = st.builds(
    lambda model, method, adapter, batch, length, quantized: recipe(
        model,
        method=method,
        adapter=adapter,
        model={"model_name_or_path": model, **({"load_in_4bit": True} if quantized and adapter else {})},
        training={
            "effective_batch_size": batch,
            **({"max_completion_length": length} if method == "grpo" else {"max_length": length}),
        },
    ),
    model=st.sampled_from(["HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen2.5-Coder-1.5B-Instruct", "Qwen/Qwen3-8B"]),
    method=st.sampled_from(["sft", "cpt", "dpo", "grpo"]),
    adapter=st.sampled_from([None, LORA, {"r": 64, "target_modules": "all-linear", "lora_dropout": 0.1}]),
    batch=st.sampled_from([8, 16, 64]),
    length=st.integers(128, 16384),
    quantized=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(recipes, st.sampled_from(list(ACCELERATORS)), st.sampled_from([1, 2, 8]))
def test_nothing_fits_above_what_a_gpu_has(one: Recipe, gpu: str, devices: int) -> None:
    found = fit_of(one, gpu, devices)
    if found.fits:
        assert found.memory is not None
        assert found.memory.gib <= ACCELERATORS[gpu].memory_gib * (1 - MARGIN)
        assert found.effective_batch == one.training["effective_batch_size"]


@settings(max_examples=40, deadline=None)
@given(recipes, st.sampled_from(list(ACCELERATORS)))
def test_a_larger_gpu_fits_what_a_smaller_one_of_its_kind_does(one: Recipe, gpu: str) -> None:
    config = bundled_config(str(one.model["model_name_or_path"]))
    assert config is not None
    accelerator = ACCELERATORS[gpu]
    larger = replace(accelerator, memory_gib=2 * accelerator.memory_gib)
    assert fit(one, config, larger).fits or not fit(one, config, accelerator).fits
