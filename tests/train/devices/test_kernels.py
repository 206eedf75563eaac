"""What a training is computed with: chosen where it is left open, and never otherwise than it is said."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils.import_utils import is_flash_attn_2_available, is_liger_kernel_available
from trl import SFTConfig

from runner.errors import UserError
from runner.recipe.recipe import Data, Recipe
from runner.runs.attempts import describe_hardware
from runner.train.devices.kernels import choose_attention, uses_liger
from runner.train.devices.triton import has_compiler
from runner.train.methods.training_arguments import trainer_arguments

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="says what holds without a GPU")


def recipe(*, model: dict[str, Any] | None = None, **training: Any) -> Recipe:
    name = {"model_name_or_path": "builtin:tiny-llama", **(model or {})}
    return Recipe(name="t", method="sft", model=name, data=Data(train=()), training=training)


def test_the_attention_that_the_recipe_names_is_used() -> None:
    assert choose_attention(recipe(model={"attn_implementation": "eager"}), torch.bfloat16) == "eager"


@WITHOUT_GPU
def test_without_a_gpu_the_choice_is_left_to_transformers_and_liger_is_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "runner.train")
    assert choose_attention(recipe(), torch.bfloat16) is None
    assert uses_liger(recipe()) is False
    assert caplog.text == ""
    assert uses_liger(recipe(use_liger_kernel=True)) is False
    assert "use_liger_kernel needs a GPU" in caplog.text


@pytest.mark.gpu
def test_on_a_gpu_what_is_installed_and_fits_is_used() -> None:
    ampere = torch.cuda.get_device_capability() >= (8, 0)
    flash = "flash_attention_2" if ampere and is_flash_attn_2_available() else None
    assert choose_attention(recipe(), torch.bfloat16) == flash
    assert choose_attention(recipe(), torch.float32) is None
    assert choose_attention(recipe(full_determinism=True), torch.bfloat16) is None
    assert uses_liger(recipe()) == (ampere and is_liger_kernel_available() and has_compiler())
    assert uses_liger(recipe(use_liger_kernel=False)) is False
    assert uses_liger(replace(recipe(), method="dpo")) is False


@pytest.mark.gpu
@pytest.mark.skipif(is_liger_kernel_available(), reason="says what holds where Liger is not installed")
def test_liger_is_missed_where_it_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"training\.use_liger_kernel: liger-kernel is not installed"):
        uses_liger(recipe(use_liger_kernel=True))


@pytest.mark.parametrize(
    ("training", "key"),
    [
        ({"torch_compile": True}, "torch_compile"),
        ({"torch_compile_mode": "max-autotune"}, "torch_compile_mode"),
        ({"torch_compile": True, "torch_compile_backend": "inductor"}, "torch_compile"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_the_image_that_can(
    training: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match=rf"(?s)training\.{key}: this needs a C compiler.*--target devel"):
        trainer_arguments(recipe(**training), tmp_path, config=SFTConfig)


@pytest.mark.parametrize("training", [{}, {"torch_compile": False}, {"torch_compile_backend": "aot_eager"}])
def test_what_needs_no_compiler_is_not_refused_for_want_of_one(
    training: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert trainer_arguments(recipe(**training), tmp_path, config=SFTConfig)["output_dir"] == str(tmp_path)


def test_a_record_reads_as_a_line(tmp_path: Path) -> None:
    record = {
        "device": "NVIDIA L4",
        "precision": "bf16",
        "weights": "bfloat16",
        "quantization": "nf4",
        "attn_implementation": "flash_attention_2",
        "optim": "paged_adamw_8bit",
        "use_liger_kernel": True,
        "packing": "bfd",
        "padding_free": True,
        "loss_on": "completions",
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
    }
    assert describe_hardware(record) == (
        "NVIDIA L4, bf16, weights nf4, attention flash_attention_2, optimizer paged_adamw_8bit, Liger kernels, "
        "packing bfd, padding-free, loss on completions, 2 x 8 a step"
    )
