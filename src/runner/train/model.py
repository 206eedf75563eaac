"""The recipe's model, tokenizer and adapter, and the precision that the hardware has."""

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from peft import LoraConfig, LoraRuntimeConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.other import TrainableTokensWrapper
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.utils.quantization_config import BitsAndBytesConfig

from runner.spec.errors import UserError
from runner.spec.recipe import Recipe
from runner.train.builtin import is_builtin, materialize
from runner.train.kernels import attention
from runner.train.prequantized import fit_quantization
from runner.train.rotary import forget_lengths

_REFERENCE = "ref"
"""What TRL calls the adapter that is the reference of DPO and GRPO."""
_AMPERE = 8
"""The first compute capability with bfloat16 arithmetic; before it (T4, V100) torch emulates it, slowly."""


def load_model(
    recipe: Recipe, *, cache_dir: Path, on_gpu: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model with its weights, and its tokenizer.

    The weights come in ``model.dtype``, by default float32 as in TRL: full fine-tuning keeps float32 weights and
    computes in `precision`. Quantized (``load_in_4bit``, ``load_in_8bit``), what is not quantized comes in the
    16-bit type that the hardware has, unless ``dtype`` says otherwise. So does a model that comes quantized.

    Args:
        recipe: whose `model`.
        cache_dir: where a built-in model is made, once for all runs on this machine.
        on_gpu: whether it may be loaded to the GPU, if there is one.

    Raises:
        UserError: there is no such model, it is not a language model, or it cannot be had from here.
    """
    model = recipe.model
    name = str(model["model_name_or_path"])
    source = str(materialize(name, cache_dir)) if is_builtin(name) else name
    shared: dict[str, Any] = {
        "trust_remote_code": bool(recipe.training.get("trust_remote_code")),
    }
    if not Path(source).is_dir():
        if Path(source).is_absolute():
            raise UserError(f"there is no folder {source}", where="model.model_name_or_path")
        shared["revision"] = model.get("model_revision") or "main"
    quantization = quantization_config(model)
    arguments: dict[str, Any] = {"dtype": model_dtype(model)}
    if quantization is not None:
        arguments["quantization_config"] = quantization
    alone = os.environ.get("WORLD_SIZE", "1") == "1" and not is_deepspeed_zero3_enabled()
    with_gpu = on_gpu and torch.cuda.is_available()
    if with_gpu and (quantization is not None or alone):
        # Straight to the device: read once, and quantized there.
        arguments["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **shared)
        config = AutoConfig.from_pretrained(source, **shared)
        if fit_quantization(recipe, config, _sixteen_bits()):
            # As it comes: without settings of ours, which transformers would pass over with a warning.
            arguments.pop("quantization_config", None)
            arguments |= {"config": config, "dtype": model_dtype({"load_in_4bit": True, **model})}
            if with_gpu:
                arguments["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
        if on_gpu and (implementation := attention(recipe, arguments["dtype"])) is not None:
            arguments["attn_implementation"] = implementation  # the GPU's kernels are no use without it
        loaded = AutoModelForCausalLM.from_pretrained(source, **shared, **arguments)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise _explained(error, name) from error
    disable_cpu_repacking(loaded)
    forget_lengths(loaded)
    return loaded, tokenizer


def model_dtype(model: Mapping[str, Any]) -> torch.dtype | str:
    """The type of the weights that are not quantized: ``dtype`` of TRL's `ModelConfig`, or its default."""
    dtype = model.get("dtype")
    if dtype is None:
        return _sixteen_bits() if model.get("load_in_4bit") or model.get("load_in_8bit") else torch.float32
    return "auto" if dtype == "auto" else _torch_dtype(dtype)


def quantization_config(model: Mapping[str, Any]) -> BitsAndBytesConfig | None:
    """bitsandbytes' settings, under its own names and TRL's; None: not quantized.

    As in TRL, the type is ``nf4`` and computing is done in the type of the other weights.
    """
    if not (model.get("load_in_4bit") or model.get("load_in_8bit")):
        return None
    names = inspect.signature(BitsAndBytesConfig).parameters
    settings = {key: value for key, value in model.items() if key in names and value is not None}
    if model.get("load_in_4bit"):
        dtype = model_dtype(model)
        settings.setdefault("bnb_4bit_compute_dtype", _sixteen_bits() if isinstance(dtype, str) else dtype)
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


def lora_config(recipe: Recipe) -> LoraConfig | None:
    """peft's settings of the adapter for a causal language model; None: full fine-tuning.

    Raises:
        UserError: peft refuses them.
    """
    if recipe.adapter is None:
        return None
    adapter: dict[str, Any] = {"task_type": "CAUSAL_LM", **recipe.adapter}
    try:
        if isinstance(adapter.get("runtime_config"), Mapping):  # the one nested config that peft does not make itself
            adapter["runtime_config"] = LoraRuntimeConfig(**adapter["runtime_config"])
        return LoraConfig(**adapter)
    except (TypeError, ValueError) as error:
        raise UserError(str(error), where="adapter") from error


def hold_reference(model: Any) -> None:
    """Make the reference adapter the very copy of the one in training, where TRL has made one.

    TRL adds it to a model that comes with an adapter, and copies weights by a pattern of their names that does not fit
    all (rows of embeddings, embeddings' own adapters).
    """
    if isinstance(model, PeftModel) and _REFERENCE in model.peft_config:
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        set_peft_model_state_dict(model, state, adapter_name=_REFERENCE)


def check_head(model: Any) -> None:
    """See that TRL's trainers can read the head of a model that peft has wrapped.

    They compute log-probabilities from the weight of the head itself. Where it is tied to the embeddings,
    `trainable_token_indices` hides it behind a wrapper.

    Raises:
        UserError: they cannot.
    """
    if isinstance(model.get_output_embeddings(), TrainableTokensWrapper):
        raise UserError(
            "the head of this model is tied to its embeddings, and TRL's loss cannot see single rows of it change",
            where="adapter.trainable_token_indices",
            remedy="Write modules_to_save: [embed_tokens] and ensure_weight_tying: true instead.",
        )


def make_scalable(model: Any, *, fp16: bool) -> None:
    """Give the trained weights float32 where gradients are scaled (``fp16``), as on a T4.

    TRL brings the adapter of a quantized model to bfloat16, whose gradients torch's `GradScaler` cannot unscale.
    """
    for parameter in model.parameters():
        if fp16 and parameter.requires_grad and parameter.dtype is not torch.float32:
            parameter.data = parameter.data.float()


def precision(training: Mapping[str, Any]) -> dict[str, bool]:
    """``bf16`` and ``fp16`` for the trainer's config: the recipe's if it says either, else what the hardware has.

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


def _sixteen_bits() -> torch.dtype:
    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if _has_bfloat16() else torch.float16


def _torch_dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise UserError(
            f"{name!r} is no type of weights", where="model.dtype", remedy="auto, bfloat16, float16 or float32."
        )
    return dtype


def _explained(error: Exception, name: str) -> Exception:
    """The mistake in the recipe that `error` comes from, or `error` itself if it comes from none."""
    where = "model.model_name_or_path"
    causes = _causes(error)
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return UserError(
            f"{name} is gated",
            where=where,
            remedy=f"Ask for access at https://huggingface.co/{name} and set HF_TOKEN.",
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return UserError(f"{name} has no such revision", where="model.model_revision")
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return UserError(
            f"{name} is not on the hub, or is private",
            where=where,
            remedy="Check the name; for a private one, set HF_TOKEN. A folder is relative to the recipe.",
        )
    if any(isinstance(cause, ImportError) for cause in causes):
        return UserError(str(error), where="model", remedy="Install what it names, or choose another setting.")
    if isinstance(error, OSError) or any(isinstance(cause, HfHubHTTPError) for cause in causes):
        return UserError(
            f"{name} cannot be loaded: {error}",
            where=where,
            remedy="Is this machine online, and HF_HUB_OFFLINE unset? Offline, name a folder.",
        )
    return UserError(f"{name} cannot be loaded: {error}", where="model")


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes
