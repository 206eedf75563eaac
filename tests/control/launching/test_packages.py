"""What a recipe needs and this machine lacks is said before a launch, with the command that brings it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runner.control.launching.packages import missing_extras, require_extras
from runner.control.recipes.check import check_recipe_named
from runner.distribution import install_command
from runner.errors import UserError
from runner.recipe.loading.load import load_recipe
from runner.recipe.problems import dotted_path

RECIPE = """
name: small
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: "builtin:python-docstrings"}]}
training: {max_steps: 3, report_to: [wandb, tensorboard], strategy: zero2}
export: {gguf: [q8_0]}
"""
GRPO = """
name: small
method: grpo
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: "builtin:arithmetic", template: {prompt: "{prompt}", solution: "{answer}"}}]}
training: {max_steps: 3, reward_funcs: ["builtin:length", accuracy_reward]}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def test_each_setting_that_needs_an_extra_is_named_with_its_command(recipe: Path) -> None:
    loaded = load_recipe(str(recipe), cwd=recipe.parent)
    found = {dotted_path(problem.path): problem for problem in missing_extras(loaded.recipe, lambda module: False)}
    assert list(found) == ["training.strategy", "training.report_to", "export.gguf"]
    assert "`zero2` needs the extra `deepspeed`" in found["training.strategy"].what
    assert "`wandb` needs the extra `train`" in found["training.report_to"].what
    for setting, extra in (("training.strategy", "deepspeed"), ("export.gguf", "gguf")):
        assert install_command(extra) in str(found[setting].remedy)


def test_rewards_that_compare_answers_need_what_compares_them(recipe: Path) -> None:
    recipe.write_text(GRPO)
    loaded = load_recipe(str(recipe), cwd=recipe.parent)
    [problem] = missing_extras(loaded.recipe, lambda module: module != "math_verify")
    assert dotted_path(problem.path) == "training.reward_funcs"


def test_nothing_is_missing_where_all_is_installed_or_nothing_is_asked_for(recipe: Path) -> None:
    loaded = load_recipe(str(recipe), cwd=recipe.parent).recipe
    assert missing_extras(loaded, lambda module: True) == []
    plain = {key: value for key, value in loaded.training.items() if key in ("max_steps", "learning_rate")}
    bare = replace(loaded, training=plain, export=replace(loaded.export, gguf=()))
    assert missing_extras(bare, lambda module: False) == []


def test_a_check_warns_and_a_launch_here_refuses(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)  # as if it were not installed
    checked = check_recipe_named(str(recipe), overrides=[], online=False, cwd=recipe.parent, say=lambda words: None)
    assert checked.error is None
    assert any("needs the extra `deepspeed`" in warning for warning in checked.warnings)
    loaded = load_recipe(str(recipe), cwd=recipe.parent)
    with pytest.raises(UserError, match="`zero2` needs the extra `deepspeed`, which is not installed on this machine"):
        require_extras(loaded.recipe, where=str(recipe), locate=loaded.locate)
