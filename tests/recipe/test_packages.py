"""Packages that the locks lack: the table is true, and a check says what a setting needs."""

import re
from pathlib import Path

import pytest

from runner.recipe import packages
from runner.recipe.packages import missing_packages
from support.recipes import Check

TABLES = (packages.OPTIMIZERS, packages.ATTENTION, packages.TRACKERS, packages.QUANTIZERS, packages.INITIALIZATIONS)
LOCKS = sorted((Path(__file__).parents[2] / "images").glob("*.lock"))


def test_no_lock_has_a_package_of_the_table() -> None:
    text = "".join(lock.read_text() for lock in LOCKS).lower().replace("_", "-")
    locked = set(re.findall(r"^([a-z0-9.-]+)==", text, re.MULTILINE))
    assert "transformers" in locked
    named = {package.install for table in TABLES for package in table.values()}
    assert not (named | {packages.LIGER.install, packages.KERNELS.install}) & locked


@pytest.mark.parametrize(
    ("override", "setting", "package"),
    [
        ("model.attn_implementation=flash_attention_2", ("model", "attn_implementation"), "flash-attn"),
        ("model.attn_implementation=kernels-community/flash-attn2", ("model", "attn_implementation"), "kernels"),
        ("training.optim=adamw_torch_8bit", ("training", "optim"), "torchao"),
        ("training.optim=stable_adamw", ("training", "optim"), "torch-optimi"),
        ("training.report_to=[tensorboard, mlflow]", ("training", "report_to"), "mlflow"),
        ("adapter={init_lora_weights: loftq}", ("adapter", "init_lora_weights"), "scipy"),
        ("training.use_liger_kernel=true", ("training", "use_liger_kernel"), "liger-kernel"),
    ],
)
def test_a_setting_that_needs_a_package_is_named_with_it(
    check: Check, override: str, setting: tuple[str, ...], package: str
) -> None:
    recipe = check(override).recipe
    [problem] = missing_packages(recipe, lambda module: False)
    assert problem.path == setting
    assert f"needs the package {package}," in problem.what
    assert missing_packages(recipe, lambda module: True) == []


def test_a_quantized_model_on_this_machine_names_its_package(check: Check, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    config = '{"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}'
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    recipe = check("model.model_name_or_path=./model", "adapter={r: 8}").recipe
    [problem] = missing_packages(recipe, lambda module: False)
    assert "gptq, which needs the package gptqmodel" in problem.what


def test_what_needs_nothing_is_not_named(check: Check) -> None:
    loaded = check("training={report_to: tensorboard, optim: adamw_8bit}", "model.attn_implementation=sdpa")
    assert missing_packages(loaded.recipe, lambda module: False) == []
