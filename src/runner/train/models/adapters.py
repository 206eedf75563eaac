"""LoRA adapters: their configuration, and the reference that DPO and GRPO compare with."""

from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, LoraRuntimeConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.other import TrainableTokensWrapper

from runner.errors import UserError
from runner.recipe.recipe import Recipe

_REFERENCE = "ref"
"""TRL's name for the adapter that is the reference of DPO and GRPO."""


def lora_config(recipe: Recipe) -> LoraConfig | None:
    """Return peft's settings of the adapter for a causal language model; None for full fine-tuning.

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


def copy_to_reference(model: Any) -> None:
    """Make TRL's reference adapter, if there is one, an exact copy of the adapter in training.

    TRL adds it to a model that comes with an adapter, but copies weights by a pattern of names that misses some (single
    rows of embeddings, adapters of embeddings).
    """
    if isinstance(model, PeftModel) and _REFERENCE in model.peft_config:
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        set_peft_model_state_dict(model, state, adapter_name=_REFERENCE)


def check_head(model: Any) -> None:
    """Check that TRL's trainers can read the head of a model that peft has wrapped.

    They compute log-probabilities from the head's own weight. If the head is tied to the embeddings,
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
    """Convert the trained weights to float32 if gradients are scaled (``fp16``), as on a T4.

    TRL converts the adapter of a quantized model to bfloat16, whose gradients torch's `GradScaler` cannot unscale.
    """
    for parameter in model.parameters():
        if fp16 and parameter.requires_grad and parameter.dtype is not torch.float32:
            parameter.data = parameter.data.float()
