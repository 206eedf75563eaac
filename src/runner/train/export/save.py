"""What is kept of a trained model: the model or adapter itself, and the adapter merged into its base."""

import dataclasses
import gc
import logging
from pathlib import Path
from typing import Any, cast

import peft
import torch
from transformers import PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer

from runner.recipe.recipe import Recipe
from runner.train.export.errors import MergeFailed
from runner.train.models.loading import load_model

logger = logging.getLogger(__name__)

_QUANTIZATION = ("load_in_4bit", "load_in_8bit")
PROMPT = "Once upon a time, there was"
"""What a model that was made is tried on besides the recipe's own prompts."""
_TOLERANCE = {4: 1e-3, 2: 5e-2}
"""By the bytes of a weight: how far merged logits may be off, relative to their norm. bfloat16 has 8 bits of precision,
so that each merged weight is rounded by up to 0.4%."""


def save_model(
    model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, *, weights: dict[str, torch.Tensor] | None = None
) -> None:
    """Write the model, or the adapter if it has one, with its tokenizer, as `from_pretrained` reads it.

    `weights` are its weights where it holds them in parts.
    """
    _save(model, folder, weights)
    tokenizer.save_pretrained(folder)


def save_merged(recipe: Recipe, adapter: Path, folder: Path, *, cache_dir: Path) -> None:
    """Write an adapter merged into its base, as a model of its own.

    The base is loaded again without quantization: merged into a 4-bit base, an adapter would be rounded to 4 bits too
    (`merge_and_unload` on such a model stays 4-bit). What was written is read back and must answer as base and adapter
    do. All of that is done on the CPU where the GPU has no room for it.

    Args:
        recipe: what the adapter was trained by.
        adapter: the folder of the adapter and its tokenizer, as `save_model` writes it.
        folder: where to.
        cache_dir: where a built-in model is made.

    Raises:
        MergeFailed: it does not.
    """
    try:
        _merge(recipe, adapter, folder, cache_dir=cache_dir, on_gpu=True)
        return
    except torch.OutOfMemoryError:
        logger.info("the GPU has no room for the base beside what was trained: merging on the CPU")
    # Not in the handler: there the error still holds what was on the GPU.
    gc.collect()
    torch.cuda.empty_cache()
    _merge(recipe, adapter, folder, cache_dir=cache_dir, on_gpu=False)


def _merge(recipe: Recipe, adapter: Path, folder: Path, *, cache_dir: Path, on_gpu: bool) -> None:
    base, _ = load_model(_unquantized(recipe), cache_dir=cache_dir, on_gpu=on_gpu)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    apart = peft.PeftModel.from_pretrained(base, str(adapter), torch_device=str(base.device)).eval()
    prompts = [*recipe.evaluate.prompts, PROMPT]
    expected = [_logits(apart, tokenizer, prompt) for prompt in prompts]
    with torch.no_grad():
        merged: Any = apart.merge_and_unload()
    save_model(merged, tokenizer, folder)
    dtype, device = merged.dtype, merged.device
    del base, apart, merged  # two copies of a large model may be one too many
    written = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    for prompt, wanted in zip(prompts, expected, strict=True):
        found = _logits(written, tokenizer, prompt)
        error = float((found - wanted).norm() / wanted.norm())
        if not error <= _TOLERANCE[dtype.itemsize]:  # also when it is not a number
            raise MergeFailed(
                f"the merged model answers {prompt[:40]!r} otherwise than base and adapter do (its logits are off by "
                f"{error:.1%}); leave export.merge out; between two stages, give both the same adapter"
            )


def _save(model: Any, folder: Path, weights: dict[str, torch.Tensor] | None) -> None:
    whole = {} if weights is None else {"state_dict": weights}
    # Not the copy of an adapter that is the reference of DPO and GRPO.
    of_adapter = {"selected_adapters": ["default"]} if isinstance(model, peft.PeftModel) else {}
    model.save_pretrained(str(folder), **of_adapter, **whole)


def _unquantized(recipe: Recipe) -> Recipe:
    """The recipe with the base that an adapter is merged into."""
    model = {key: value for key, value in recipe.model.items() if key not in _QUANTIZATION}
    if recipe.export.base is not None:
        model = {key: value for key, value in model.items() if key != "model_revision"}
        model["model_name_or_path"] = recipe.export.base
    return dataclasses.replace(recipe, model=model)


def _logits(model: Any, tokenizer: PreTrainedTokenizerBase, prompt: str) -> torch.Tensor:
    """What the model makes of a prompt: logits of shape (tokens, vocabulary), in float32 on the CPU."""
    tokens = tokenizer(prompt, return_tensors="pt").to(model.device)
    with torch.no_grad():
        return cast(torch.Tensor, model(input_ids=tokens["input_ids"]).logits[0].float().cpu())
