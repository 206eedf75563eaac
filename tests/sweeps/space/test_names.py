"""Names of parameters: dotted paths, short names, names of other tools, and what they cannot be."""

import pytest

from runner.sweeps.space.names import Name, resolve_name
from support.sweeping.files import SweepFiles


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("training.learning_rate", "training.learning_rate"),
        ("learning_rate", "training.learning_rate"),
        ("gradient_accumulation_steps", "training.gradient_accumulation_steps"),
        ("per_device_train_batch_size", "training.per_device_train_batch_size"),
        ("effective_batch_size", "training.effective_batch_size"),
        ("weight_decay", "training.weight_decay"),
        ("warmup_steps", "training.warmup_steps"),
        ("r", "adapter.r"),
        ("lora_r", "adapter.r"),
        ("lora_alpha", "adapter.lora_alpha"),
        ("lora_dropout", "adapter.lora_dropout"),
        ("use_dora", "adapter.use_dora"),
        ("target_modules", "adapter.target_modules"),
        ("adapter.lora_r", "adapter.r"),
        ("save_steps", "checkpoint.save_steps"),
        ("dtype", "model.dtype"),
        ("model_name_or_path", "model.model_name_or_path"),
        ("data.train.0.sample", "data.train.0.sample"),
        ("training.lr_scheduler_kwargs.min_lr", "training.lr_scheduler_kwargs.min_lr"),
        ("stages.sft.training.learning_rate", "stages.sft.training.learning_rate"),
        ("stages.sft.lora_r", "stages.sft.adapter.r"),
        ("adapter", "adapter"),
    ],
)
def test_a_name_of_a_setting_is_its_path(name: str, path: str) -> None:
    found = resolve_name(name, "sft")
    assert isinstance(found, Name)
    assert (found.path, found.note) == (path, None)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("lr", "training.learning_rate"),
        ("epochs", "training.num_train_epochs"),
        ("scheduler", "training.lr_scheduler_type"),
        ("optimizer", "training.optim"),
        ("micro_batch_size", "training.per_device_train_batch_size"),
        ("warmup_ratio", "training.warmup_steps"),
        ("training.warmup_ratio", "training.warmup_steps"),
        ("rank", "adapter.r"),
        ("alpha", "adapter.lora_alpha"),
        ("dropout", "adapter.lora_dropout"),
        ("torch_dtype", "model.dtype"),
    ],
)
def test_a_name_of_another_tool_is_understood_and_said(name: str, path: str) -> None:
    found = resolve_name(name, "sft")
    assert isinstance(found, Name)
    assert found.path == path
    assert found.note is not None
    assert f"`{path}`" in found.note


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("learnin_rate", "did you mean `training.learning_rate`?"),
        ("training.learnin_rate", "did you mean `learning_rate`?"),
        ("trainig.learning_rate", "did you mean `training.learning_rate`?"),
        ("optimizer.lr", "write `training.learning_rate`"),
        ("batch_size", "`per_device_train_batch_size`"),
        ("hub_model_id", "write `training.hub_model_id` or `export.hub_model_id`"),
        ("num_generations", "it is a setting of grpo, not of sft"),
        ("training.num_generations", "it is a setting of grpo, not of sft"),
        ("resources.accelerators", "machines are chosen for the whole sweep"),
        ("name", "each trial gets a name of its own"),
        ("stages", "stages.NAME.training.learning_rate"),
        ("nothing_like_it", "runner schema"),
    ],
)
def test_any_other_name_is_refused_with_what_to_write(name: str, remedy: str) -> None:
    found = resolve_name(name, "sft")
    assert isinstance(found, str)
    assert remedy in found


def test_a_ratio_is_below_one(files: SweepFiles) -> None:
    assert files.drawing({"warmup_ratio": {"values": [0.03, 0.1]}}).space.settings({"warmup_ratio": 0.1}) == {
        "training.warmup_steps": 0.1
    }
    assert "5 is not a share" in files.refusal(parameters={"warmup_ratio": {"values": [0.03, 5]}})


def test_two_names_of_one_setting_are_refused(files: SweepFiles) -> None:
    message = files.refusal(parameters={"lora_r": {"values": [4]}, "adapter": {"values": [{"r": 8}, {"r": 16}]}})
    assert "`adapter.r` is set by `adapter` as well" in message


def test_a_setting_of_the_command_line_is_not_drawn_as_well(files: SweepFiles) -> None:
    message = files.refusal(overrides=("training.learning_rate=1",))
    assert "is set by `--set training.learning_rate=1` as well" in message
