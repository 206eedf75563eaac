"""`training.strategy` and one's own `deepspeed`: what is taken, what is refused and why."""

import json
from pathlib import Path

import pytest

from runner.recipe.strategy import choose_strategy, deepspeed_config, offloads, zero_stage
from support.recipes import Check, Refuse, settings_of

FOUR_BITS = ["model.load_in_4bit=true", "adapter={r: 8}"]
GRPO = ["method=grpo", "training.reward_funcs=[builtin:length]", "data.train.0.path=builtin:arithmetic"]


@pytest.mark.parametrize(
    ("overrides", "setting", "what"),
    [
        (["training.strategy=zero4"], "training.strategy", "did you mean"),
        ([*FOUR_BITS, "training.strategy=zero3"], "training.strategy", "cannot be sharded"),
        ([*FOUR_BITS, "training.strategy=zero2_offload"], "training.strategy", "cannot be sharded"),
        ([*GRPO, "training.strategy=zero2"], "training.strategy", "generated between the steps"),
        (["training.strategy=zero2_offload", "training.optim=paged_adamw_8bit"], "training.optim", "on a GPU only"),
        (["training.fsdp=full_shard"], "training.fsdp", "with DeepSpeed"),
        (["training.deepspeed={zero_optimization: {}}"], "training.deepspeed", "no `stage`"),
        (
            ["training.deepspeed={zero_optimization: {stage: 2}}", "training.strategy=zero2"],
            "training.strategy",
            "is set as well",
        ),
        (
            ["training.deepspeed={zero_optimization: {stage: 2}, train_batch_size: 32}"],
            "training.deepspeed",
            "`train_batch_size` is not accepted",
        ),
        (
            ["training.deepspeed={zero_optimization: {stage: 3, offload_param: {device: nvme}}}"],
            "training.deepspeed",
            "nvme",
        ),
        (["training.deepspeed=nowhere.json"], "training.deepspeed", "No such file"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    refuse: Refuse, overrides: list[str], setting: str, what: str
) -> None:
    error = refuse(*overrides)
    assert settings_of(error) == [setting]
    assert what in str(error)


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.strategy=ddp"],
        ["training.strategy=null"],
        ["training.strategy=zero3_offload"],
        [*FOUR_BITS, "training.strategy=zero2"],
        [*GRPO, "training.strategy=ddp"],
        ["training.deepspeed={zero_optimization: {stage: 1}}"],
        ["training.deepspeed={zero_optimization: {stage: 3}, train_batch_size: auto}"],
    ],
)
def test_what_can_be_is_taken(check: Check, overrides: list[str]) -> None:
    assert check(*overrides).recipe.name


def test_stages_take_no_zero(refuse: Refuse) -> None:
    text = """\
name: two
model: {model_name_or_path: builtin:tiny-llama}
data: {train: [{path: builtin:python-docstrings}]}
stages:
  - {method: sft, name: one, training: {max_steps: 2}}
  - {method: sft, name: two, training: {max_steps: 2, strategy: zero2}}
"""
    assert "one model for the life of a process" in str(refuse(text=text))


def test_ones_own_file_stands_in_the_recipe_and_travels_with_it(check: Check, tmp_path: Path) -> None:
    own = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}}
    (tmp_path / "zero.json").write_text(json.dumps(own))
    recipe = check("training.deepspeed=zero.json").recipe
    assert recipe.training["deepspeed"] == own
    assert zero_stage(recipe.training, None) == 3
    assert offloads(recipe.training)
    assert choose_strategy(recipe.training, 2) is None


def test_more_than_one_process_is_ddp_unless_the_recipe_says_otherwise() -> None:
    assert choose_strategy({}, 1) is None
    assert choose_strategy({}, 2) == "ddp"
    assert choose_strategy({"strategy": "ddp"}, 1) is None
    assert choose_strategy({"strategy": "zero2_offload"}, 1) == "zero2_offload"
    assert deepspeed_config("ddp", pin_memory=True) is None


def test_a_published_deepspeed_file_is_taken_without_its_automatic_batch(check: Check, tmp_path: Path) -> None:
    """``"train_batch_size": "auto"`` says what the recipe says; ZeRO-3 would refuse it."""
    file = tmp_path / "ds.json"
    file.write_text('{"train_batch_size": "auto", "bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 3}}')
    loaded = check(f"training.deepspeed={file}")
    assert loaded.recipe.training["deepspeed"] == {"bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 3}}
