"""What is kept of a trained model: the model or adapter itself, and the adapter merged into its base."""

import dataclasses
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from runner.spec.recipe import Recipe
from runner.train.model import load_model

_QUANTIZATION = ("load_in_4bit", "load_in_8bit")


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the model, or the adapter if it has one, with its tokenizer, as `from_pretrained` reads it."""
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(folder)


def save_merged(
    recipe: Recipe, model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, *, cache_dir: Path
) -> None:
    """Write the adapter merged into its base, as a model of its own.

    The base is loaded again without quantization: merged into a 4-bit base, an adapter would be rounded to 4 bits too
    (`merge_and_unload` on such a model stays 4-bit). The model in training is left as it is.
    """
    unquantized = dataclasses.replace(
        recipe, model={key: value for key, value in recipe.model.items() if key not in _QUANTIZATION}
    )
    base, _ = load_model(unquantized, cache_dir=cache_dir)
    adapter = folder / "adapter-to-merge"
    model.save_pretrained(str(adapter))
    with torch.no_grad():
        merged: PreTrainedModel = peft.PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    for path in adapter.iterdir():
        path.unlink()
    adapter.rmdir()
    save_model(merged, tokenizer, folder)
