"""Quantization: by the recipe, and of models that come quantized (``…-bnb-4bit``).

Of a model that comes quantized, transformers takes all settings from the model's ``config.json`` and ignores the
recipe's, even the type to compute in: a model quantized for bfloat16 would be computed in it on a T4, which has none.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.utils.quantization_config import BitsAndBytesConfig

from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.train.models.precision import model_dtype, sixteen_bit_dtype

_COMPUTE = "bnb_4bit_compute_dtype"
_TRL_NAMES = {"use_bnb_nested_quant": "bnb_4bit_use_double_quant"}


def own_quantization(config: PreTrainedConfig) -> dict[str, Any] | None:
    """Return the quantization settings of a model's configuration; None if its weights are not quantized."""
    own = getattr(config, "quantization_config", None)
    return None if not own else dict(own if isinstance(own, Mapping) else own.to_dict())


def fit_quantization(recipe: Recipe, config: PreTrainedConfig, compute_dtype: torch.dtype) -> bool:
    """Make a model that comes quantized compute in a type that the hardware has, by changing its configuration.

    Args:
        recipe: the stage's.
        config: the model's; is changed.
        compute_dtype: the type to compute in, unless the recipe sets one.

    Returns:
        whether the model comes quantized.

    Raises:
        UserError: the recipe asks for another quantization, would train quantized weights, or names no base to merge
            into.
    """
    own = own_quantization(config)
    if own is None:
        return False
    name = recipe.model["model_name_or_path"]
    method = own.get("quant_method") or "bitsandbytes"
    if recipe.adapter is None:
        raise UserError(
            f"{name} comes quantized ({method}), and quantized weights cannot be trained",
            where="model.model_name_or_path",
            remedy="Write an `adapter:`, or name the model that it was made from.",
        )
    if (recipe.export.merge or recipe.export.gguf) and recipe.export.base is None:
        raise UserError(
            f"{name} comes quantized, and an adapter is merged into unquantized weights",
            where="export.base",
            remedy="Name the model that it was made from: export: {base: …}, or `runner export --base`.",
        )
    for key, value in recipe.model.items():
        own_value = own.get(_TRL_NAMES.get(key, key))
        asked = key.startswith(("bnb_4bit_", "use_bnb_", "load_in_", "llm_int8_")) and key != _COMPUTE
        if asked and value is not None and value != own_value:
            raise UserError(
                f"{value}, and {name} comes quantized with {own_value}",
                where=f"model.{key}",
                remedy="Leave it out, or name the model that it was made from.",
            )
    if own.get("load_in_4bit"):
        own[_COMPUTE] = recipe.model.get(_COMPUTE) or str(compute_dtype).removeprefix("torch.")
    config.quantization_config = own
    return True


def quantization_config(model: Mapping[str, Any]) -> BitsAndBytesConfig | None:
    """Return bitsandbytes' settings for a recipe's `model`, by its own names or TRL's; None if it is not quantized.

    As in TRL, the type is ``nf4`` and computations are in the type of the other weights.
    """
    if not (model.get("load_in_4bit") or model.get("load_in_8bit")):
        return None
    names = inspect.signature(BitsAndBytesConfig).parameters
    settings = {key: value for key, value in model.items() if key in names and value is not None}
    if model.get("load_in_4bit"):
        dtype = model_dtype(model)
        settings.setdefault("bnb_4bit_compute_dtype", sixteen_bit_dtype() if isinstance(dtype, str) else dtype)
        settings.setdefault("bnb_4bit_quant_type", "nf4")
        settings.setdefault("bnb_4bit_use_double_quant", bool(model.get("use_bnb_nested_quant")))
    try:
        return BitsAndBytesConfig(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(str(error), where="model") from error


def disable_cpu_repacking(model: Any) -> None:
    """Stop bitsandbytes from repacking 4-bit weights when a model is evaluated on a CPU with AVX512-BF16.

    It repacks in place, rounds the scales to bfloat16, and never undoes it. A training step after that computes with
    other weights, through a kernel that has no gradient.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
