"""Choice of attention and layer kernels, and the record of what a training is computed with.

Kernels that the recipe names are used. What it leaves open is chosen here, and logged: the fastest kernels that are
installed and that the GPU can run, but none that would cost a run its exact resume (``full_determinism``). Nothing is
downloaded: transformers' kernels from the hub are code of third parties, and are used only if the recipe names them
(``attn_implementation: kernels-community/flash-attn2``).
"""

import importlib
import logging
from collections.abc import Mapping
from typing import Any

import torch
from transformers.utils.import_utils import is_flash_attn_2_available, is_liger_kernel_available

from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.runs.record_types.attempt import HardwareRecord
from runner.train.devices.triton import has_compiler

logger = logging.getLogger(__name__)

_AMPERE = 8
"""Major compute capability of the first GPUs that FlashAttention 2 and Liger's kernels run on."""
_SIXTEEN_BITS = (torch.float16, torch.bfloat16)


def choose_attention(recipe: Recipe, dtype: torch.dtype | str) -> str | None:
    """Return the attention to load a model with; None for transformers' own choice, which is torch's (``sdpa``).

    FlashAttention 2 if it is installed, on Ampere and later, for weights of 16 bits: it takes no others.

    Args:
        recipe: its `model` may name one.
        dtype: the type of the weights that are not quantized.
    """
    named = recipe.model.get("attn_implementation")
    if named is not None:
        return str(named)
    fits = _has_ampere(recipe.training) and dtype in _SIXTEEN_BITS and is_flash_attn_2_available()
    return "flash_attention_2" if fits and not recipe.training.get("full_determinism") else None


def uses_liger(recipe: Recipe) -> bool:
    """Whether Liger's kernels replace layers: as the recipe's ``use_liger_kernel`` says, else if they can run.

    They are written in Triton, which compiles them at first use and needs a C compiler. If the recipe leaves it open,
    `sft` and `cpt` use them; the other methods only use them if the recipe asks.

    Raises:
        UserError: the recipe asks for them on a GPU, and they are not installed or cannot be compiled there.
    """
    asked = recipe.training.get("use_liger_kernel")
    if asked is False:
        return False
    if not _has_ampere(recipe.training):
        if asked:
            logger.info("kernels: use_liger_kernel needs a GPU (Ampere or later); not used here")
        return False
    if asked and not is_liger_kernel_available():
        raise UserError(
            "liger-kernel is not installed on the machine that trains",
            where="training.use_liger_kernel",
            remedy="pip install liger-kernel there, or leave it out.",
        )
    if asked:
        _require_compiler("training.use_liger_kernel")
        return True
    deterministic = recipe.training.get("full_determinism")
    return recipe.method in ("sft", "cpt") and is_liger_kernel_available() and has_compiler() and not deterministic


def check_compile(training: Mapping[str, Any]) -> None:
    """Refuse ``torch_compile`` on a machine without a compiler, before anything is trained.

    A recipe asks for it by its backend or mode, too (`transformers.TrainingArguments`); only the default backend,
    TorchInductor, compiles C or Triton.

    Raises:
        UserError: there is no C compiler or no Python headers.
    """
    keys = ("torch_compile", "torch_compile_mode", "torch_compile_backend")
    asked = next((key for key in keys if training.get(key)), None)
    if asked is not None and (training.get("torch_compile_backend") or "inductor") == "inductor":
        _require_compiler(f"training.{asked}")


def _require_compiler(where: str) -> None:
    if has_compiler():
        return
    raise UserError(
        "this needs a C compiler and Python's headers, and the machine that trains does not have them",
        where=where,
        remedy="leave it out, or give the run the image that has a compiler: "
        "`runner image build --target devel` (docs/image.md)",
    )


def hardware_record(trainer: Any) -> HardwareRecord:
    """Return what a trainer computes with, read back from it: not what was asked for, but what is used.

    Args:
        trainer: one of TRL's, ready to train.

    """
    args, model = trainer.args, trainer.model
    on_gpu = args.device.type == "cuda"
    capability = torch.cuda.get_device_capability(args.device) if on_gpu else None
    return {
        "device": torch.cuda.get_device_name(args.device) if on_gpu else args.device.type,
        "compute_capability": None if capability is None else f"{capability[0]}.{capability[1]}",
        "torch": str(torch.__version__),
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "float32",
        "weights": str(model.dtype).removeprefix("torch."),
        "quantization": _quantization(model),
        "attn_implementation": model.config._attn_implementation,
        "optim": str(getattr(args.optim, "value", args.optim)),
        "use_liger_kernel": bool(args.use_liger_kernel) and _has_liger_layers(model),
        "packing": args.packing_strategy if getattr(args, "packing", False) else None,
        "padding_free": bool(getattr(trainer, "padding_free", False)),
        "loss_on": _loss_on(trainer),
        "activation_checkpointing": bool(args.activation_checkpointing),
        "per_device_train_batch_size": args.per_device_train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
    }


def _has_ampere(training: Mapping[str, Any]) -> bool:
    on_gpu = torch.cuda.is_available() and not training.get("use_cpu")
    return on_gpu and torch.cuda.get_device_capability()[0] >= _AMPERE


def _has_liger_layers(model: Any) -> bool:
    patches = importlib.import_module("liger_kernel.transformers.monkey_patch")  # not installed everywhere
    return model.config.model_type in patches.MODEL_TYPE_TO_APPLY_LIGER_FN


def _quantization(model: Any) -> str | None:
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    settings = config if isinstance(config, Mapping) else config.to_dict()
    if settings.get("load_in_4bit"):
        return str(settings["bnb_4bit_quant_type"])
    return "int8" if settings.get("load_in_8bit") else str(settings.get("quant_method"))


def _loss_on(trainer: Any) -> str | None:
    """The part of each example that the loss is on; None for methods whose loss is not on tokens."""
    if not hasattr(trainer, "completion_only_loss"):
        return None
    if trainer.args.assistant_only_loss:
        return "the assistant's turns"
    columns = trainer.train_dataset.column_names
    if trainer.completion_only_loss or ("labels" in columns and -100 in trainer.train_dataset[0]["labels"]):
        return "completions"
    return "all tokens"
