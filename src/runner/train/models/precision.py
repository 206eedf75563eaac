"""The number formats of weights and computation on this device."""

from collections.abc import Mapping
from typing import Any

import torch

from runner.errors import UserError

_AMPERE = 8
"""The first compute capability with bfloat16 arithmetic; before it (T4, V100) torch emulates it, slowly."""


def model_dtype(model: Mapping[str, Any]) -> torch.dtype | str:
    """Return the type of the weights that are not quantized: ``dtype`` of TRL's `ModelConfig`, or its default."""
    dtype = model.get("dtype")
    if dtype is None:
        return sixteen_bit_dtype() if model.get("load_in_4bit") or model.get("load_in_8bit") else torch.float32
    return "auto" if dtype == "auto" else _torch_dtype(dtype)


def precision(training: Mapping[str, Any]) -> dict[str, bool]:
    """Return ``bf16`` and ``fp16`` for the trainer's config: the recipe's if it sets one, else the hardware's.

    bfloat16 from Ampere on, float16 on older NVIDIA GPUs, neither on a CPU.

    Raises:
        UserError: the recipe asks for bfloat16 on a GPU that has none, or for float16 without a GPU.
    """
    on_gpu = torch.cuda.is_available() and not training.get("use_cpu")
    if training.get("bf16") and on_gpu and not _has_bfloat16():
        raise UserError(
            f"{torch.cuda.get_device_name()} has no bfloat16",
            where="training.bf16",
            remedy="Write fp16: true, or leave both out: the GPU decides.",
        )
    if training.get("fp16") and not torch.accelerator.is_available():
        raise UserError(
            "this machine has no GPU, and float16 needs one",
            where="training.fp16",
            remedy="Leave it out: the machine decides.",
        )
    if training.get("bf16") is not None or training.get("fp16") is not None:
        bf16, fp16 = bool(training.get("bf16")), bool(training.get("fp16"))
        return {"bf16": bf16, "fp16": fp16}
    return {"bf16": on_gpu and _has_bfloat16(), "fp16": on_gpu and not _has_bfloat16()}


def _has_bfloat16() -> bool:
    return torch.cuda.is_bf16_supported() and torch.cuda.get_device_capability()[0] >= _AMPERE


def sixteen_bit_dtype() -> torch.dtype:
    """Return the 16-bit type that the GPU computes in; float32 without a GPU."""
    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if _has_bfloat16() else torch.float16


def _torch_dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise UserError(
            f"{name!r} is not a type of weights", where="model.dtype", remedy="auto, bfloat16, float16 or float32."
        )
    return dtype
