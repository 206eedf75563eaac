"""Oumi's YAML (its `TrainingConfig` of August 2026: https://oumi.ai/docs)."""

from collections.abc import Mapping
from typing import Any

from runner.peers import values
from runner.peers.draft import Config, Draft
from runner.peers.rules import apply
from runner.peers.tables.oumi import TABLE

_TRAINERS = {"TRL_SFT": "sft", "HF": "sft", "OUMI": "sft", "TRL_DPO": "dpo", "TRL_GRPO": "grpo"}
_ALPACA = [
    {
        "role": "system",
        "content": "Below is an instruction that describes a task{#input}, paired with an input that provides further "
        "context{/input}. Write a response that appropriately completes the request.",
    },
    {"role": "user", "content": "{instruction}{#input}\n\n### Input:\n{input}{/input}"},
    {"role": "assistant", "content": "{output}"},
]
"""Alpaca's rows as Oumi makes turns of them."""
_PATHS = ("PromptResponseDataset", "HuggingFaceDataset", "text_sft", "text_sft_jsonl", "TextSftJsonLinesDataset")
_ANSWERS_ONLY = "text_completions_only_with_padding"


def convert(config: Config, draft: Draft) -> None:
    """Convert a config of Oumi's."""
    trainer = config.take("training.trainer_type", "HF")
    draft.method = _TRAINERS.get(trainer, "sft")
    if trainer in _TRAINERS:
        draft.put("method", draft.method, key="training.trainer_type")
    else:
        name = trainer.removeprefix("TRL_").lower()
        draft.refuse("training.trainer_type", f"{values.NO_METHODS.get(name, trainer)} is not a method of runner")
    if draft.method == "grpo" and not config.has("training.reward_functions"):
        draft.refuse("training.reward_functions", "there is none")
    if config.take("model.load_pretrained_weights", True) is False:
        draft.refuse("model.load_pretrained_weights", "training begins with the model's weights")
    _adapter(config, draft)
    answers_only = config.take("data.train.collator_name") == _ANSWERS_ONLY
    for part, path in (("train", "data.train"), ("validation", "data.eval")):
        entries = config.take(f"data.{part}.datasets", [])
        found = [_entry(entry, f"data.{part}.datasets[{index}]", draft) for index, entry in enumerate(entries)]
        if entries:
            draft.put(path, [entry for entry in found if entry is not None], key=f"data.{part}.datasets")
    if draft.method == "sft" and answers_only:
        draft.add("training.assistant_only_loss", True, f"`collator_name: {_ANSWERS_ONLY}`")
    if draft.find("data.eval") is None:
        for key in ("training.eval_strategy", "training.eval_steps", "training.per_device_eval_batch_size"):
            if config.has(key):
                config.take(key)
                draft.leave(key, "there is nothing to evaluate on")
    if config.take("fsdp.enable_fsdp"):
        offload = config.take("fsdp.cpu_offload")
        if config.take("fsdp.sharding_strategy", "FULL_SHARD") in ("FULL_SHARD", "HYBRID_SHARD"):
            values.put_strategy(draft, "fsdp.enable_fsdp", "zero3_offload" if offload else "zero3", "fsdp")
        else:
            values.put_strategy(draft, "fsdp.enable_fsdp", "zero2", "fsdp")
        config.take("fsdp")
    if config.take("deepspeed.enable_deepspeed"):
        stage = str(config.take("deepspeed.zero_stage", "ZERO_3")).lower().replace("_", "").removeprefix("zero")
        values.put_strategy(draft, "deepspeed.zero_stage", values.deepspeed_strategy(f"zero{stage}"), stage)
        config.take("deepspeed")
    if (config.content.get("training") or {}).get("max_steps", -1) == -1:
        config.take("training.max_steps")
    elif config.has("training.num_train_epochs"):
        config.take("training.num_train_epochs")
        draft.leave("training.num_train_epochs", "`max_steps` counts")
    apply(TABLE, config, draft, own_names="training.")
    draft.add("training.learning_rate", 5.0e-5, "Oumi's default")
    draft.add("training.gradient_checkpointing", False, "Oumi's default")
    draft.add("model.dtype", "float32", "Oumi's default")


def _adapter(config: Config, draft: Draft) -> None:
    if config.take("training.use_peft"):
        draft.put("adapter", {}, key="training.use_peft", why="an adapter of peft's")
        if not (config.content.get("peft") or {}).get("lora_target_modules"):
            config.take("peft.lora_target_modules")
        draft.recipe["adapter"].update({"r": 8, "lora_alpha": 8, "lora_dropout": 0.0})
    else:
        config.take("peft")
        return
    if config.take("peft.q_lora"):
        values.quantize(draft, "peft.q_lora", config.take("peft.q_lora_bits", 4))
        if config.content["peft"].get("bnb_4bit_quant_type") is None:
            draft.add("model.bnb_4bit_quant_type", "fp4", "Oumi's default")
    else:
        for key in (
            "q_lora_bits",
            "bnb_4bit_quant_type",
            "bnb_4bit_compute_dtype",
            "bnb_4bit_quant_storage",
            "use_bnb_nested_quant",
        ):
            config.take(f"peft.{key}")


def _entry(entry: Mapping[str, Any], where: str, draft: Draft) -> dict[str, Any] | None:
    settings = dict(entry.get("dataset_kwargs") or {})
    name, source = str(entry.get("dataset_name")), {"path": entry.get("dataset_path") or entry.get("dataset_name")}
    harmless = {
        "shuffle",
        "seed",
        "shuffle_buffer_size",
        "trust_remote_code",
        "mixture_proportion",
        "transform_num_workers",
        "sample_count",
    }
    for key in entry.keys() - harmless - {"dataset_name", "dataset_path", "subset", "split", "dataset_kwargs"}:
        draft.refuse(f"{where}.{key}", "runner knows nothing of this key")
        return None
    if entry.get("subset"):
        source["name"] = entry["subset"]
    if entry.get("split") not in (None, "train"):
        source["split"] = entry["split"]
    if entry.get("sample_count"):
        source["split"] = values.head_of(entry.get("split") or "train", entry["sample_count"])
    if name in _PATHS:
        source["path"] = (
            settings.pop("hf_dataset_path", None) or settings.pop("dataset_path", None) or entry.get("dataset_path")
        )
    if name == "PromptResponseDataset":
        prompt, answer = settings.pop("prompt_column", "instruction"), settings.pop("response_column", "response")
        source["template"] = {
            "messages": [
                {"role": "user", "content": f"{{{prompt}}}"},
                {"role": "assistant", "content": f"{{{answer}}}"},
            ]
        }
    settings.pop("seq_length", None)
    settings.pop("assistant_only", None)
    settings.pop("return_conversations", None)
    settings.pop("return_conversations_format", None)
    if "alpaca" in name.lower():
        source["template"] = {"messages": _ALPACA[not settings.pop("include_system_prompt", True) :]}
    if settings or source["path"] is None:
        draft.refuse(
            f"{where}.dataset_kwargs", f"{', '.join(settings) or 'no path'}: write the rows' layout as `template:`"
        )
        return None
    return source
