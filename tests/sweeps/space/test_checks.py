"""Everything that can be drawn is held against the recipe's schema and rules before anything starts."""

from typing import Any

import pytest

from support.sweeping.files import SweepFiles


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"lr_scheduler_type": {"values": ["linear", "cosin"]}}, ["cosin", "did you mean `cosine`?"]),
        ({"lora_dropout": {"min": 0, "max": 1}}, ["drawn as 1,", "below 1"]),
        ({"lora_dropout": {"values": [0.1, "0.2"]}}, ["the text `0.2`", "write 0.2, as plain digits"]),
        ({"lora_r": {"min": 1.0, "max": 8}}, ["a whole number expected", "int_uniform"]),
        ({"lora_r": {"distribution": "normal", "mu": 8, "sigma": 2}}, ["a whole number expected"]),
        (
            {"lora_r": {"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 8}},
            ["drawn as 0, which the recipe cannot have: 0 is out of bounds", "rounds what is below 4 to 0"],
        ),
        ({"weight_decay": {"distribution": "normal", "mu": 0.05, "sigma": 0.03}}, ["drawn as -0.0", "has no ends"]),
        ({"data.train.0.sample": {"values": [0.5, -1]}}, ["-1"]),
        ({"data.train.0.pth": {"values": ["x"]}}, ["did you mean `path`?"]),
        ({"adapter": {"values": [{"r": 8}, {"r": 0}]}}, ['drawn as {"r": 0}', "adapter.r: 0 is out of bounds"]),
        (
            {"adapter": {"values": [{"r": 8}, {"lora_alpa": 8}]}},
            ["a value has `lora_alpa`", "did you mean `lora_alpha`?"],
        ),
        ({"training": {"values": [{"lr_scheduler_kwargs": {"x": 1}}]}}, ["lr_scheduler_kwargs"]),
        ({"output_dir": {"value": "x"}}, ["training.output_dir"]),
        ({"learning_rate": {"value": "fast"}}, ["sweep.yaml:7: training.learning_rate: a number expected"]),
        ({"stages.x.learning_rate": {"value": 1}}, ["stages"]),
    ],
    ids=str,
)
def test_a_value_that_the_recipe_cannot_have_is_refused(
    files: SweepFiles, parameters: dict[str, Any], said: list[str]
) -> None:
    message = files.refusal(parameters=parameters)
    assert all(part in message for part in said), message


@pytest.mark.parametrize(
    "parameters",
    [
        {"lora_r": {"distribution": "q_uniform", "min": 8, "max": 64}},  # whole numbers as floats
        {"lora_r": {"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8}},
        {"lora_dropout": {"min": 0.0, "max": 0.5}},
        {"learning_rate": {"distribution": "log_normal", "mu": -7, "sigma": 1}},
        {"lora_dropout": {"distribution": "beta", "a": 2, "b": 20}},
        {"data.train.0.sample": {"values": [0.1, 0.5]}},
        {"seed": {"values": [1, 2, 3]}},
    ],
    ids=str,
)
def test_what_a_recipe_can_have_is_drawn(files: SweepFiles, parameters: dict[str, Any]) -> None:
    assert files.drawing(parameters).space.parameters


def test_settings_that_need_each_other_are_checked_together(files: SweepFiles) -> None:
    kinds = {
        "lr_scheduler_type": {"value": "cosine_with_min_lr"},
        "lr_scheduler_kwargs": {"values": [{"min_lr": 0.0001}]},
    }
    assert files.drawing(kinds).space.drawn
    coupled = {"values": [{"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}}, {}]}
    assert files.drawing({"training": coupled}).space.drawn


def test_combinations_that_cannot_be_are_counted_and_shown(files: SweepFiles) -> None:
    message = files.refusal(
        method="grid",
        parameters={
            "effective_batch_size": {"values": [4, 8, 6]},
            "per_device_train_batch_size": {"values": [2, 4]},
        },
    )
    assert "1 of the 6 combinations that were tried cannot be trained" in message
    assert "effective_batch_size 6, per_device_train_batch_size 4" in message
    assert "6 is not divisible by per_device_train_batch_size = 4" in message


def test_a_grid_of_what_has_none_is_refused(files: SweepFiles) -> None:
    message = files.refusal(method="grid", parameters={"learning_rate": {"min": 0.001, "max": 0.01}})
    assert "and not learning_rate (uniform)" in message


def test_a_grid_that_leaves_its_maximum_out_says_so(files: SweepFiles) -> None:
    sweep = files.drawing({"lora_r": {"distribution": "q_uniform", "min": 1, "max": 4, "q": 1}}, method="grid")
    assert any("ends below max 4, as for W&B: the last value is 3" in note for note in sweep.notes)


def test_a_recipe_that_is_wrong_by_itself_is_said_with_its_own_place(files: SweepFiles) -> None:
    files.recipe(training={"learning_rate": "x"})
    assert "small.yaml:" in files.refusal(parameters={"lora_r": {"values": [4]}})


def test_a_schedule_without_warmup_is_drawn_without_the_recipes(files: SweepFiles) -> None:
    files.recipe(training={"warmup_steps": 5})
    sweep = files.drawing({"lr_scheduler_type": {"values": ["linear", "constant"]}})
    space = type(sweep.space).from_mapping(sweep.space.to_mapping())
    assert space.settings({"lr_scheduler_type": "linear"}) == {"training.lr_scheduler_type": "linear"}
    assert space.settings({"lr_scheduler_type": "constant"}) == {
        "training.lr_scheduler_type": "constant",
        "training.warmup_steps": 0,
    }
    assert any("the recipe's training.warmup_steps has no effect then" in note for note in sweep.notes)


def test_a_schedule_is_drawn_without_another_ones_arguments(files: SweepFiles) -> None:
    files.recipe(training={"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}})
    space = files.drawing({"lr_scheduler_type": {"values": ["polynomial", "linear"]}}).space
    assert space.settings({"lr_scheduler_type": "polynomial"}) == {"training.lr_scheduler_type": "polynomial"}
    assert space.settings({"lr_scheduler_type": "linear"})["training.lr_scheduler_kwargs"] is None


def test_no_combination_can_be_trained(files: SweepFiles) -> None:
    message = files.refusal(
        parameters={"max_steps": {"value": 20}, "epochs": {"values": [1, 2]}, "seed": {"values": [1]}}
    )
    assert "`max_steps` overrides it" in message


def test_a_warmup_that_the_sweep_draws_is_not_left_out(files: SweepFiles) -> None:
    kinds = {"lr_scheduler_type": {"values": ["linear", "constant"]}, "warmup_steps": {"values": [5, 10]}}
    assert "it has no effect with `lr_scheduler_type: constant`" in files.refusal(parameters=kinds)


def test_a_warmup_longer_than_the_run_is_said(files: SweepFiles) -> None:
    notes = files.drawing({"warmup_steps": {"values": [5, 100]}}).notes
    assert any("training.warmup_steps" in note and "hardly meant" in note for note in notes)


def test_what_the_sweep_draws_replaces_what_it_contradicts(files: SweepFiles) -> None:
    files.recipe(training={"effective_batch_size": 16})
    sweep = files.drawing({"gradient_accumulation_steps": {"values": [2, 3]}})
    assert "effective_batch_size" not in sweep.recipe.recipe.training
    assert sweep.recipe.recipe.training["per_device_train_batch_size"] == 4
    assert any("effective_batch_size: 16 is left out" in note for note in sweep.notes)


def test_a_batch_that_is_drawn_replaces_accumulation(files: SweepFiles) -> None:
    files.recipe(training={"gradient_accumulation_steps": 2})
    sweep = files.drawing({"effective_batch_size": {"values": [8, 16]}})
    assert "gradient_accumulation_steps" not in sweep.recipe.recipe.training


def test_an_accumulation_that_would_change_nothing_is_refused(files: SweepFiles) -> None:
    message = files.refusal(program="quickstart", parameters={"gradient_accumulation_steps": {"values": [2, 4]}})
    assert "effective_batch_size: 16 stays the same whatever `gradient_accumulation_steps` is" in message
    assert "draw `effective_batch_size` instead" in message


def test_epochs_that_are_drawn_replace_the_steps(files: SweepFiles) -> None:
    sweep = files.drawing({"num_train_epochs": {"values": [1, 2]}})
    assert "max_steps" not in sweep.recipe.recipe.training
    assert any("max_steps: 60 is left out" in note for note in sweep.notes)


def test_without_an_adapter_what_is_drawn_for_it_is_left_out(files: SweepFiles) -> None:
    parameters = {"adapter": {"values": [None, {"r": 4}]}, "lora_dropout": {"values": [0.0, 0.1]}}
    space = files.drawing(parameters, method="grid").space
    assert space.settings({"adapter": None, "lora_dropout": 0.1}) == {"adapter": None}
    assert space.settings({"adapter": {"r": 4}, "lora_dropout": 0.1}) == {"adapter.r": 4, "adapter.lora_dropout": 0.1}
