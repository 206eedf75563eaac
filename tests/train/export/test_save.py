"""A merged model is tried before it is declared good."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from runner.recipe.recipe import Recipe
from runner.train.export.save import MergeFailed, save_merged, save_model
from runner.train.models.adapters import lora_config
from runner.train.models.loading import load_model
from support.runs import recipe


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def adapted(what: Recipe, cache: Path) -> tuple[Any, Any]:
    """The recipe's model with an adapter that does something, and its tokenizer."""
    torch.manual_seed(0)
    model, tokenizer = load_model(what, cache_dir=cache)
    with_adapter = peft.get_peft_model(model, lora_config(what))
    for name, parameter in with_adapter.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return with_adapter.eval(), tokenizer


@pytest.mark.parametrize("settings", [{}, {"dtype": "bfloat16"}, {"load_in_4bit": True}], ids=str)
def test_the_merged_model_answers_as_base_and_adapter(settings: dict[str, Any], cache: Path, tmp_path: Path) -> None:
    what = recipe(tmp_path / "rows.jsonl", adapter=True)
    what = replace(what, model={**what.model, **settings})
    model, tokenizer = adapted(what, cache)
    save_model(model, tokenizer, tmp_path / "adapter")
    save_merged(what, tmp_path / "adapter", tmp_path / "merged", cache_dir=cache)
    tokens = tokenizer("Return the", return_tensors="pt")["input_ids"]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    if not settings:
        with torch.no_grad():
            torch.testing.assert_close(merged(tokens).logits, model(tokens).logits, rtol=1e-4, atol=1e-4)


def test_a_merge_that_went_wrong_is_not_kept_for_good(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it did in a library once: merged without the adapter's weights."""
    what = recipe(tmp_path / "rows.jsonl", adapter=True)
    model, tokenizer = adapted(what, cache)
    save_model(model, tokenizer, tmp_path / "adapter")
    monkeypatch.setattr(peft.PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(MergeFailed, match="off by"):
        save_merged(what, tmp_path / "adapter", tmp_path / "merged", cache_dir=cache)


def test_a_merge_that_the_gpu_has_no_room_for_is_done_on_the_cpu(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a GPU says when it is full is said here by hand."""
    caplog.set_level(logging.INFO, "runner.train")

    def load(what: Recipe, *, cache_dir: Path, on_gpu: bool) -> tuple[Any, Any]:
        if on_gpu:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.00 GiB")
        return load_model(what, cache_dir=cache_dir, on_gpu=on_gpu)

    what = recipe(tmp_path / "rows.jsonl", adapter=True)
    model, tokenizer = adapted(what, cache)
    save_model(model, tokenizer, tmp_path / "adapter")
    monkeypatch.setattr("runner.train.export.save.load_model", load)
    save_merged(what, tmp_path / "adapter", tmp_path / "merged", cache_dir=cache)
    assert "merging on the CPU" in caplog.text
    tokens = tokenizer("Return the", return_tensors="pt")["input_ids"]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens).logits, model(tokens).logits, rtol=1e-4, atol=1e-4)
