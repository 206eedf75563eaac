"""LoRA adapters: their configuration, and the reference that DPO compares with."""

from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, LoraRuntimeConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.other import TrainableTokensWrapper

from runner.errors import UserError
from runner.recipe.recipe import Recipe

_REFERENCE = "ref"
"""What TRL calls the adapter that is the reference of DPO and GRPO."""


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
