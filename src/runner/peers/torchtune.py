"""torchtune's YAML (its recipes of July 2025, the last: https://docs.pytorch.org/torchtune)."""

import re
from typing import Any

from runner.peers.draft import Config, Draft
from runner.peers.rules import apply
from runner.peers.tables.torchtune import TABLE

_OPTIMIZERS = {
    "torch.optim.AdamW": "adamw_torch_fused",
    "torch.optim.Adam": "adamw_torch_fused",
    "bitsandbytes.optim.PagedAdamW8bit": "paged_adamw_8bit",
    "bitsandbytes.optim.PagedAdamW": "paged_adamw_32bit",
    "bitsandbytes.optim.AdamW8bit": "adamw_bnb_8bit",
    "torch.optim.SGD": "sgd",
    "torchao.optim.AdamW8bit": "adamw_torch_8bit",
    "torchao.prototype.low_bit_optim.AdamW8bit": "adamw_torch_8bit",
}
_MODULES = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "output_proj": "o_proj"}
_STACK_EXCHANGE = {
    "prompt": [{"role": "user", "content": "Question: {question}\n\nAnswer: "}],
    "chosen": [{"role": "assistant", "content": "{response_j}"}],
    "rejected": [{"role": "assistant", "content": "{response_k}"}],
}
_OWNERS = {
    "Llama": "meta-llama",
    "Meta-Llama": "meta-llama",
    "CodeLlama": "meta-llama",
    "Qwen": "Qwen",
    "gemma": "google",
    "Mistral": "mistralai",
    "Phi": "microsoft",
    "phi": "microsoft",
}
"""Who publishes models of a name. The folder that `tune download` makes has the repository's last part only."""


def convert(config: Config, draft: Draft) -> None:
    """Convert a recipe of torchtune's."""
    loss, dataset = str(config.take("loss._component_", "")), str(config.take("dataset._component_", ""))
    draft.method = "dpo" if "DPO" in loss else "sft"
    draft.put("method", draft.method, key="loss._component_")
    for word, what in (
        ("KD", "distillation is"),
        ("PPO", "PPO is"),
        ("GRPO", "GRPO with torchtune's rewards is"),
        ("RSO", "RSO is"),
    ):
        if word in loss:
            draft.refuse("loss._component_", f"{what} no method of runner's")
    for key in (
        "teacher_model",
        "teacher_checkpointer",
        "reward_model",
        "policy_model",
        "base_model",
        "value_model",
        "ref_policy",
    ):
        if config.has(key):
            config.take(key)
            draft.refuse(key, "a second model beside the one that is trained")
    _model(config, draft)
    _adapter(config, draft)
    _optimizer(config, draft)
    for key, path in (("dataset", "data.train"), ("dataset_val", "data.eval")):
        if config.has(key) and key in config.content:
            entry = _entry(config, key, draft)
            if entry is not None:
                draft.put(path, [entry], key=f"{key}._component_")
    if draft.find("data.eval") and config.take("run_val_every_n_steps"):
        draft.put("training.eval_strategy", "steps", key="run_val_every_n_steps")
        draft.put("training.eval_steps", config.take("run_val_every_n_steps"), key="run_val_every_n_steps")
    elif draft.find("data.eval"):
        del draft.recipe["data"]["eval"]
        config.take("dataset_val")
        config.take("batch_size_val")
        draft.leave("dataset_val", "`run_val_every_n_steps` evaluates, and is not set")
    if config.has("clip_grad_norm") is False:
        config.take("clip_grad_norm")
        draft.add("training.max_grad_norm", 0.0, "torchtune does not clip unless told to")
    if config.take("max_steps_per_epoch") and config.content.get("epochs") == 1:
        config.take("epochs")
        draft.put("training.max_steps", config.take("max_steps_per_epoch"), key="max_steps_per_epoch")
    apply(TABLE, config, draft)
    draft.add("training.max_length", None, "torchtune cuts no row unless told to")
    draft.recipe.setdefault("training", {}).setdefault("max_length", None)
    draft.add("training.lr_scheduler_type", "constant", "torchtune's rate is constant without an `lr_scheduler`")
    if draft.method == "sft" and draft.find("training.completion_only_loss") is None and "alpaca" in dataset:
        draft.add("training.completion_only_loss", False, "torchtune's `alpaca` trains on the input too")


def _model(config: Config, draft: Draft) -> None:
    folder = str(config.take("checkpointer.checkpoint_dir", "")).rstrip("/")
    name = folder.removesuffix("/original").rsplit("/", 1)[-1]
    owner = next((owner for word, owner in _OWNERS.items() if name.startswith(word)), None)
    if not name or owner is None:
        draft.refuse(
            "checkpointer.checkpoint_dir",
            f"{folder or 'nothing'} names no model of the hub: write `model.model_name_or_path`",
        )
    else:
        why = "guessed from the folder that `tune download` makes; see that it is this one"
        draft.put("model.model_name_or_path", f"{owner}/{name}", key="checkpointer.checkpoint_dir", why=why)


def _adapter(config: Config, draft: Draft) -> None:
    component = str(config.take("model._component_", ""))
    name = component.rsplit(".", 1)[-1]
    if "vision" in component:
        draft.refuse("model._component_", "images and sound are not trained on")
    if not name.startswith(("lora_", "qlora_", "dora_", "qdora_")):
        return
    draft.put("adapter", {"lora_dropout": 0.0}, key="model._component_", why="an adapter of peft's")
    model = config.take("model", {})
    modules = [_MODULES[one] for one in model.get("lora_attn_modules", ["q_proj", "v_proj"]) if one in _MODULES]
    if model.get("apply_lora_to_mlp"):
        modules += ["gate_proj", "up_proj", "down_proj"]
    if model.get("apply_lora_to_output"):
        draft.refuse("model.apply_lora_to_output", "an adapter on the output layer")
    draft.put("adapter.target_modules", modules, key="model.lora_attn_modules", why="their names in transformers")
    draft.put("adapter.r", model.get("lora_rank", 8), key="model.lora_rank")
    draft.put("adapter.lora_alpha", model.get("lora_alpha", 16), key="model.lora_alpha")
    if model.get("lora_dropout"):
        draft.put("adapter.lora_dropout", model["lora_dropout"], key="model.lora_dropout")
    if model.get("use_dora") or name.startswith(("dora_", "qdora_")):
        draft.put("adapter.use_dora", True, key="model.use_dora")
    if (name.startswith("q") and name.startswith(("qlora_", "qdora_"))) or model.get("quantize_base"):
        draft.put("model.load_in_4bit", True, key="model._component_", why="NF4, as torchtune's")
        draft.put("model.bnb_4bit_quant_type", "nf4", key="model._component_", why="NF4, as torchtune's")
        draft.put("model.bnb_4bit_use_double_quant", True, key="model._component_", why="its scales are quantized too")
        draft.put("model.bnb_4bit_compute_dtype", "bfloat16", key="model._component_", why="what it computes in")


def _optimizer(config: Config, draft: Draft) -> None:
    name = str(config.take("optimizer._component_", "torch.optim.AdamW"))
    if name not in _OPTIMIZERS:
        draft.refuse("optimizer._component_", f"transformers does not have {name}")
        return
    fused = (config.content.get("optimizer") or {}).get("fused")
    optim = "adamw_torch" if name == "torch.optim.AdamW" and fused is False else _OPTIMIZERS[name]
    draft.put("training.optim", optim, key="optimizer._component_", why="its name in transformers")
    if name.endswith("AdamW") and not config.has("optimizer.weight_decay"):
        draft.add("training.weight_decay", 0.01, "the default of torch's AdamW; transformers' is 0")
    schedule = str(config.take("lr_scheduler._component_", ""))
    if schedule.endswith("get_cosine_schedule_with_warmup"):
        draft.put(
            "training.lr_scheduler_type", "cosine", key="lr_scheduler._component_", why="its name in transformers"
        )
    elif schedule:
        draft.refuse("lr_scheduler._component_", f"transformers does not have {schedule}")


def _entry(config: Config, key: str, draft: Draft) -> dict[str, Any] | None:
    component = str(config.take(f"{key}._component_", ""))
    name = component.rsplit(".", 1)[-1]
    settings: dict[str, Any] = dict(config.content[key])
    packed = settings.pop("packed", None)
    config.take(key)
    if packed is not None:
        draft.put("training.packing" if key == "dataset" else "training.eval_packing", packed, key=f"{key}.packed")
    settings.pop("_component_", None)
    source: dict[str, Any] = {"path": settings.pop("source", None)}
    split = settings.pop("split", "train")
    if split != "train":
        source["split"] = re.sub(r"\s", "", split)
    if settings.pop("train_on_input", True) is False and draft.method == "sft":
        draft.put("training.completion_only_loss", True, key=f"{key}.train_on_input")
    files = settings.pop("data_files", None)
    if files is not None and source["path"] in ("json", "csv", "parquet", "text") and isinstance(files, str):
        source["path"] = files
    elif files is not None:
        draft.refuse(f"{key}.data_files", "files of a hub dataset: write one entry for each file")
        return None
    if name in ("alpaca_dataset", "alpaca_cleaned_dataset"):
        wording = {"path": source["path"] or ("yahma/alpaca-cleaned" if "cleaned" in name else "tatsu-lab/alpaca")}
        return source | wording | {"template": _alpaca_turn()}
    if name == "stack_exchange_paired_dataset":
        return source | {"path": source["path"] or "lvwerra/stack-exchange-paired", "template": _STACK_EXCHANGE}
    if name == "text_completion_dataset":
        draft.method = draft.recipe["method"] = "cpt"
        column = settings.pop("column", "text")
        settings.pop("add_eos", None)
        entry = source if column == "text" else source | {"template": {"text": f"{{{column}}}"}}
    elif name in ("chat_dataset", "preference_dataset"):
        column = settings.pop("conversation_column", None)
        settings.pop("conversation_style", None)
        entry = (
            source
            if column in (None, "messages", "conversations")
            else source | {"template": {"messages": f"{{{column}}}"}}
        )
    else:
        draft.refuse(f"{key}._component_", f"{name} reads rows in a way of its own: write `template:`")
        return None
    if settings or entry["path"] is None:
        draft.refuse(f"{key}.{next(iter(settings), 'source')}", "write the rows' layout as `template:`")
        return None
    return entry


def _alpaca_turn() -> dict[str, Any]:
    """Alpaca's wording as a user's turn, as torchtune has it."""
    prompt = (
        "Below is an instruction that describes a task{#input}, paired with an input that provides further context"
        "{/input}. Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
        "{#input}### Input:\n{input}\n\n{/input}### Response:\n"
    )
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": "{output}"}],
    }
