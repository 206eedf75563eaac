"""The time of a training: bound by launches or by arithmetic, calculated by hand, and as an interval."""

import math
from dataclasses import replace
from typing import Any

import pytest

from runner.fit.accelerators import ACCELERATORS
from runner.fit.fit import Fit, fit_workload, workloads
from runner.fit.model_shape import bundled_config
from runner.fit.throughput import ARITHMETIC, LAUNCH_SECONDS, SPREAD, STEP_BYTES, estimate_time, step_seconds
from runner.fit.workload import Workload
from runner.recipe.recipe import Data, DataSource, Recipe

A100 = ACCELERATORS["A100-80GB"]


def planned(gpu: str = "A100-80GB", devices: int = 1, nodes: int = 1, **parts: Any) -> tuple[Workload, Fit]:
    """A 1B model's workload, and its fit: one row to a pass, no checkpointing, unless said otherwise."""
    training = {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": False,
        "max_length": 1024,
        "max_steps": 100,
        "packing": True,
        **parts.pop("training", {}),
    }
    made = {
        "name": "r",
        "method": "sft",
        "model": {"model_name_or_path": "unsloth/Llama-3.2-1B-Instruct", "dtype": "bfloat16"},
        "data": Data(train=(DataSource(path="a/b"),)),
        "adapter": {"r": 16, "target_modules": "all-linear"},
        "training": training,
    }
    recipe = Recipe(**{**made, **parts})
    [work] = workloads(recipe, bundled_config(str(recipe.model["model_name_or_path"])) or {})
    return work, fit_workload(work, ACCELERATORS[gpu], devices=devices, nodes=nodes)


def test_a_short_pass_takes_as_long_as_its_kernels_are_launched() -> None:
    """16 blocks, three directions; 32 tokens' arithmetic is a hundredth of that."""
    work, fit = planned(training={"max_length": 32})
    assert step_seconds(work, fit, A100, 32) == pytest.approx(16 * 3 * LAUNCH_SECONDS["lora"], rel=0.02)
    assert step_seconds(work, fit, A100, 32) == pytest.approx(step_seconds(work, fit, A100, 16), rel=0.02)


def test_a_long_pass_takes_as_long_as_its_arithmetic() -> None:
    work, fit = planned(training={"max_length": 16384, "per_device_train_batch_size": 16})
    tokens, n = 16 * 16384, work.shape.active_parameters
    attention = 2 * 16 * 2048 * 16384
    flops = tokens * (2 * (2 * n + attention) + 6 * work.adapter_weights)
    expected = flops / (312e12 * ARITHMETIC[8, 0])
    assert step_seconds(work, fit, A100, 16384) == pytest.approx(expected, rel=0.01)


def test_a_step_of_all_weights_moves_their_states() -> None:
    work, fit = planned(adapter=None, training={"gradient_accumulation_steps": 1})
    twice, other = planned(adapter=None, training={"gradient_accumulation_steps": 2})
    one, two = step_seconds(work, fit, A100, 1024), step_seconds(twice, other, A100, 1024)
    assert 2 * one - two == pytest.approx(work.shape.parameters * STEP_BYTES / 1935e9, rel=0.01)


@pytest.mark.parametrize(
    ("name", "measured", "config", "parts"),
    [
        # Others' seconds of a step on an A100 of 80 GB, packed to 4096 (fms-acceleration, scripts/benchmarks/refs).
        ("Mistral 7B, all weights, 8 rows", 10.4253, {"num_key_value_heads": 8}, {"adapter": None}),
        ("Mistral 7B, LoRA of attention, 8 rows", 8.3107, {"num_key_value_heads": 8}, {}),
    ],
)
def test_published_times_are_in_the_range(name: str, measured: float, config: Any, parts: Any) -> None:
    mistral = {
        "model_type": "mistral",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        **config,
    }
    work, _ = planned(
        training={"max_length": 4096, "per_device_train_batch_size": 8, "gradient_checkpointing": True}, **parts
    )
    [work] = workloads(work.recipe, mistral)
    fit = fit_workload(work, A100, devices=1, nodes=1)
    low, high = (3600 * hours / 100 for hours in estimate_time(work, fit, A100).hours)
    assert low < measured < high, name


def test_the_range_is_as_wide_as_lengths_and_the_model_leave_open() -> None:
    """Packed rows are full; those of unknown length may be a quarter as long, and the errors add up as independent."""
    work, fit = planned(training={"max_length": 16384, "max_steps": 10**6})
    low, high = estimate_time(work, fit, A100).hours
    assert high / low == pytest.approx(SPREAD**2, rel=0.01)
    work = replace(work, recipe=replace(work.recipe, training={**work.recipe.training, "packing": False}))
    low, high = estimate_time(work, fit, A100).hours
    shortest, longest = (step_seconds(work, fit, A100, tokens) for tokens in (16384 / 4, 16384))
    lengths = math.log(longest / shortest) / 2
    assert high / low == pytest.approx(math.exp(2 * math.hypot(math.log(SPREAD), lengths)), rel=0.01)


def test_several_machines_take_longer_than_as_many_gpus_in_one() -> None:
    training = {"strategy": "zero3"}
    (work, one), (_, two) = (planned(devices=4 // n, nodes=n, adapter=None, training=training) for n in (1, 2))
    assert step_seconds(work, two, A100, 1024) > 2 * step_seconds(work, one, A100, 1024)
