"""What a recipe runs and takes along is said by name, and no value of a variable is."""

from pathlib import Path
from typing import Any

from runner.control.launching.taken_along import describe_code_and_files
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.layout import SECRET_NAMES


def recipe(**more: Any) -> Recipe:
    data = Data(train=(DataSource(path="builtin:arithmetic"),))
    return Recipe(**{"name": "r", "method": "grpo", "model": {"model_name_or_path": "a/b"}, "data": data, **more})


def test_code_is_named_with_the_setting_that_brings_it(tmp_path: Path) -> None:
    training = {"reward_funcs": ["builtin:length", f"{tmp_path}/rewards.py:correct"], "trust_remote_code": True}
    sky = {"setup": "pip install x", "file_mounts": {"/data": "s3://b/x"}, "workdir": "/home/me/code"}
    (sentence,) = describe_code_and_files(recipe(training=training, sky=sky), [])
    assert sentence == (
        "runs code of its own: rewards.py (training.reward_funcs), the model's (training.trust_remote_code), "
        "sky.setup, sky.workdir (/home/me/code), which goes along, sky.file_mounts (1)"
    )


def test_files_and_variables_are_named(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text("x" * 2048)
    given = ["HF_TOKEN", SECRET_NAMES]
    (sentence,) = describe_code_and_files(recipe(sky={"secrets": {"WANDB_API_KEY": None}}), [file, tmp_path], given)
    assert sentence == "takes along: train.jsonl (2.0 KiB), the variable HF_TOKEN, the variable WANDB_API_KEY"


def test_nothing_is_said_of_a_recipe_that_brings_nothing() -> None:
    assert describe_code_and_files(recipe(training={"reward_funcs": ["builtin:length"]}), []) == []
