"""Save a trained model: the model or adapter itself, or the adapter merged into its base."""

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
from runner.train.finite import name_some, not_finite, not_finite_in_files
from runner.train.models.loading import load_model

logger = logging.getLogger(__name__)

_QUANTIZATION = ("load_in_4bit", "load_in_8bit")
PROMPT = "Once upon a time, there was"
"""A prompt that every merged model and GGUF file is tried on, besides the recipe's own."""
_TOLERANCE = {4: 1e-3, 2: 5e-2}
"""By the bytes of a weight: how far merged logits may be off, relative to their norm. bfloat16 has 8 bits of precision,
so that each merged weight is rounded by up to 0.4%."""


def save_model(
    model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, *, weights: dict[str, torch.Tensor] | None = None
) -> None:
    """Write the model, or only its adapter if it has one, with its tokenizer, as `from_pretrained` reads it.

    Args:
        model: the trained model.
        tokenizer: its tokenizer.
        folder: gets the files.
        weights: the model's weights, if ZeRO-3 has partitioned them.
    """
    _save(model, folder, weights)
    tokenizer.save_pretrained(folder)


def save_merged(recipe: Recipe, adapter: Path, folder: Path, *, cache_dir: Path) -> None:
    """Write an adapter merged into its base, as a model of its own.

    The base is loaded again without quantization: merged into a 4-bit base, an adapter would be rounded to 4 bits too
    (`merge_and_unload` on such a model stays 4-bit). The written model is read back and must answer as base and adapter
    do. All of this is done on the CPU if the GPU has no room for it.

    Args:
        recipe: the recipe that the adapter was trained by.
        adapter: the folder of the adapter and its tokenizer, as `save_model` writes it.
        folder: gets the merged model.
        cache_dir: where a built-in model is made.

    Raises:
        MergeFailed: the merged model does not answer as base and adapter do, or has weights that are not finite.
    """
    try:
        _merge(recipe, adapter, folder, cache_dir=cache_dir, on_gpu=True)
        return
    except torch.OutOfMemoryError:
        logger.info("the GPU has no room for the base beside what was trained: merging on the CPU")
    # Not in the handler: there the error still refers to the tensors on the GPU.
    gc.collect()
    torch.cuda.empty_cache()
    _merge(recipe, adapter, folder, cache_dir=cache_dir, on_gpu=False)


def _merge(recipe: Recipe, adapter: Path, folder: Path, *, cache_dir: Path, on_gpu: bool) -> None:
    _require_finite(not_finite_in_files(adapter), "the adapter")
    base, _ = load_model(_with_unquantized_base(recipe), cache_dir=cache_dir, on_gpu=on_gpu)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    adapted = peft.PeftModel.from_pretrained(base, str(adapter), torch_device=str(base.device)).eval()
    prompts = [*recipe.evaluate.prompts, PROMPT]
    expected = [_logits(adapted, tokenizer, prompt) for prompt in prompts]
    with torch.no_grad():
        merged: Any = adapted.merge_and_unload()
    _require_finite(not_finite(merged.named_parameters()), "the merged model")
    save_model(merged, tokenizer, folder)
    dtype, device = merged.dtype, merged.device
    del base, adapted, merged  # two copies of a large model may be one too many
    reloaded = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    for prompt, expected_logits in zip(prompts, expected, strict=True):
        logits = _logits(reloaded, tokenizer, prompt)
        error = float((logits - expected_logits).norm() / expected_logits.norm())
        if not error <= _TOLERANCE[dtype.itemsize]:  # also when it is not a number
            raise MergeFailed(
                f"the merged model answers {prompt[:40]!r} otherwise than base and adapter do (its logits are off by "
                f"{error:.1%}); leave export.merge out; between two stages, give both the same adapter"
            )


def require_finite_files(folder: Path) -> None:
    """Check that the weights in a folder are worth exporting.

    Raises:
        MergeFailed: some are infinite or not a number.
    """
    _require_finite(not_finite_in_files(folder), "the trained model")


def _require_finite(names: list[str], what: str) -> None:
    if names:
        raise MergeFailed(
            f"{what} has weights that are infinite or not a number ({name_some(names)}): the training has diverged, or "
            "they do not fit into this type of weights"
        )


def _save(model: Any, folder: Path, weights: dict[str, torch.Tensor] | None) -> None:
    state = {} if weights is None else {"state_dict": weights}
    # Without TRL's reference adapter for DPO and GRPO.
    adapters = {"selected_adapters": ["default"]} if isinstance(model, peft.PeftModel) else {}
    model.save_pretrained(str(folder), **adapters, **state)


def _with_unquantized_base(recipe: Recipe) -> Recipe:
    """Return the recipe with the unquantized base that its adapter is merged into."""
    model = {key: value for key, value in recipe.model.items() if key not in _QUANTIZATION}
    if recipe.export.base is not None:
        model = {key: value for key, value in model.items() if key != "model_revision"}
        model["model_name_or_path"] = recipe.export.base
    return dataclasses.replace(recipe, model=model)


def _logits(model: Any, tokenizer: PreTrainedTokenizerBase, prompt: str) -> torch.Tensor:
    """Return the model's logits for a prompt, of shape (tokens, vocabulary), in float32 on the CPU."""
    tokens = tokenizer(prompt, return_tensors="pt").to(model.device)
    with torch.no_grad():
        return cast(torch.Tensor, model(input_ids=tokens["input_ids"]).logits[0].float().cpu())
