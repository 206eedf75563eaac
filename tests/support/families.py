"""Models of the families that people train: their public configs, with random weights."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from runner.fit.model_shape import bundled_config
from runner.train.builtin.catalog import materialize

FAMILIES = {
    "qwen3-8b": "Qwen/Qwen3-8B",
    "deepseek-r1-distill-qwen-1.5b": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "llama-3.2-1b": "unsloth/Llama-3.2-1B-Instruct",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "qwen2.5-coder-1.5b": "Qwen/Qwen2.5-Coder-1.5B-Instruct",
}
"""By a name for files and runs: the model whose bundled config it has."""

_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
}


def is_tied(family: str) -> bool:
    """Whether the head has the embeddings' weights."""
    return bool((bundled_config(FAMILIES[family]) or {})["tie_word_embeddings"])


def write_model(family: str, folder: Path, *, small: bool) -> Path:
    """Write a model and a tokenizer as Hugging Face's folders have them.

    Args:
        family: a key of `FAMILIES`.
        folder: where; ``folder / family`` is made.
        small: of the same architecture, with few and narrow layers; else of its real size, in bfloat16, which wants a
            GPU to make it and, for the largest, 16 GB of disk.

    Returns:
        The folder.
    """
    path = folder / family
    tokenizer = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", folder))
    known = dict(bundled_config(FAMILIES[family]) or {})
    if small:
        known |= {**_SMALL, "vocab_size": len(tokenizer)}
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    with torch.device("cpu" if small else "cuda"):
        config = AutoConfig.for_model(**known, **special)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32 if small else torch.bfloat16)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
