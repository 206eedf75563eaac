"""Load a recipe's model and tokenizer."""

import os
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer

from runner.errors import UserError, causes
from runner.recipe.inputs.model_folder import is_encoder
from runner.recipe.recipe import Recipe
from runner.train.builtin.catalog import is_builtin, materialize
from runner.train.devices.kernels import choose_attention
from runner.train.library_errors.explain import explain
from runner.train.models.precision import model_dtype, sixteen_bit_dtype
from runner.train.models.quantization import disable_cpu_repacking, fit_quantization, quantization_config
from runner.train.models.rotary import forget_lengths
from runner.train.models.vocabulary import check_tokenizer, no_tokenizer

_NO_TOKENIZER = "Couldn't instantiate the backend tokenizer"
"""What transformers says of a model without the files of a tokenizer, unless it makes an empty one."""


def load_model(
    recipe: Recipe, *, cache_dir: Path, on_gpu: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a recipe's model and its tokenizer.

    The weights are in ``model.dtype``, by default float32 as in TRL: full fine-tuning keeps float32 weights and
    computes in `precision`. Of a quantized model (``load_in_4bit``, ``load_in_8bit``, or one that comes quantized) the
    weights that are not quantized are in the 16-bit type that the hardware has, unless ``dtype`` says otherwise.

    Args:
        recipe: names the model.
        cache_dir: where a built-in model is made, once for all runs on this machine.
        on_gpu: whether it may be loaded to the GPU, if there is one.

    Raises:
        UserError: the model does not exist, is not a language model, or cannot be loaded on this machine.
    """
    model = recipe.model
    name, source, shared = _source(recipe, cache_dir)
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
        check_tokenizer(tokenizer, name)
        config = AutoConfig.from_pretrained(source, **shared)
        if is_encoder(config.to_dict()):
            raise UserError(
                f"{name} fills in masked words: its tokens see those after them",
                where="model.model_name_or_path",
                remedy="Name a model that generates text, such as a Llama.",
            )
        if fit_quantization(recipe, config, sixteen_bit_dtype()):
            # Without settings of ours, which transformers would ignore with a warning.
            arguments.pop("quantization_config", None)
            arguments |= {"config": config, "dtype": model_dtype({"load_in_4bit": True, **model})}
            if with_gpu:
                arguments["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
        if on_gpu and (implementation := choose_attention(recipe, arguments["dtype"])) is not None:
            arguments["attn_implementation"] = implementation
        loaded = AutoModelForCausalLM.from_pretrained(source, **shared, **arguments)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise _explain(error, name) from error
    disable_cpu_repacking(loaded)
    forget_lengths(loaded)
    return loaded, tokenizer


def load_tokenizer(recipe: Recipe, *, cache_dir: Path, adapter: Path | None = None) -> PreTrainedTokenizerBase:
    """Load a recipe's tokenizer alone, without the weights.

    Args:
        recipe: names the model.
        cache_dir: where a built-in model is made, once for all runs on this machine.
        adapter: the folder of an adapter that a stage goes on with, which has its own.

    Raises:
        UserError: the model does not exist, or has no tokenizer.
    """
    name, source, shared = _source(recipe, cache_dir)
    if adapter is not None:
        source, shared = str(adapter), {"trust_remote_code": shared["trust_remote_code"]}
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, **shared)
    except (OSError, ValueError, ImportError) as error:
        raise _explain(error, name) from error
    if adapter is None:
        check_tokenizer(tokenizer, name)
    return tokenizer


def _source(recipe: Recipe, cache_dir: Path) -> tuple[str, str, dict[str, Any]]:
    """Return a model's name, where it is loaded from, and what all of its parts are loaded with.

    Raises:
        UserError: it is a folder that is not there.
    """
    name = str(recipe.model["model_name_or_path"])
    source = str(materialize(name, cache_dir)) if is_builtin(name) else name
    shared: dict[str, Any] = {"trust_remote_code": bool(recipe.training.get("trust_remote_code"))}
    if not Path(source).is_dir():
        if Path(source).is_absolute():
            raise UserError(f"there is no folder {source}", where="model.model_name_or_path")
        shared["revision"] = recipe.model.get("model_revision") or "main"
    return name, source, shared


def _explain(error: Exception, name: str) -> Exception:
    """Return the mistake in the recipe that caused `error`, or `error` itself if none did."""
    where = "model.model_name_or_path"
    chain = list(causes(error, contexts=True))
    if any(isinstance(cause, GatedRepoError) for cause in chain):
        return UserError(
            f"{name} is gated",
            where=where,
            remedy=f"Ask for access at https://huggingface.co/{name} and set HF_TOKEN.",
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in chain):
        return UserError(f"{name} has no such revision", where="model.model_revision")
    if any(isinstance(cause, RepositoryNotFoundError) for cause in chain):
        return UserError(
            f"{name} is not on the hub, or is private",
            where=where,
            remedy="Check the name; for a private one, set HF_TOKEN. A folder is relative to the recipe.",
        )
    if _NO_TOKENIZER in str(error):
        return no_tokenizer(name)
    # An `OSError` here is of this model; the table knows it as a chat template's that TRL could not load.
    if not isinstance(error, OSError) and (mistake := explain(error)) is not None:
        return mistake
    if any(isinstance(cause, ImportError) for cause in chain):
        return UserError(str(error), where="model", remedy="Install what it names, or choose another setting.")
    if isinstance(error, OSError) or any(isinstance(cause, HfHubHTTPError) for cause in chain):
        return UserError(
            f"{name} cannot be loaded: {error}",
            where=where,
            remedy="Is this machine online, and HF_HUB_OFFLINE unset? Offline, name a folder.",
        )
    return UserError(f"{name} cannot be loaded: {error}", where="model")
