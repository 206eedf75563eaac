"""The YAML of LLaMA-Factory's second form (``USE_V1=1``), by its argument classes of August 2026."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.errors import UserError
from runner.peers import values
from runner.peers.draft import Config, Draft
from runner.peers.rules import Leave, Refuse, Table, To, apply

TABLE: Table = {
    "model": To("model.model_name_or_path"),
    "model_class": Refuse("only language models are trained", harmless=("llm",)),
    "trust_remote_code": To("training.trust_remote_code"),
    "custom_chat_template": Refuse("write the template into a file, for `training.chat_template_path`"),
    "flash_attn": Leave(values.SPEED),
    "kernel_config*": Leave(values.SPEED),
    "init_config*": Leave(values.SPEED),
    "output_dir": Leave(values.PLACES),
    "micro_batch_size": To("training.per_device_train_batch_size"),
    "global_batch_size": To("training.effective_batch_size"),
    "cutoff_len": To("training.max_length"),
    "learning_rate": To("training.learning_rate"),
    "num_train_epochs": To("training.num_train_epochs"),
    "max_steps": To("training.max_steps"),
    "max_grad_norm": To("training.max_grad_norm"),
    "bf16": Leave("bf16 is taken where the GPU has it"),
    "batching_strategy": Refuse("a step has as many rows as the recipe says", harmless=("normal", "padding_free")),
    "batching_workers": Leave(values.SPEED),
    "enable_activation_checkpointing": To("training.gradient_checkpointing"),
    "cp_size": Refuse("one sequence is not cut up over several GPUs", harmless=(1,)),
    "cp_mode": Leave(),
    "dp_size": Leave(values.SERVERS),
    "mp_*": Leave(values.SERVERS),
    "dist_timeout": Leave(values.SERVERS),
    "optim_config*": Refuse("write `training.optim` by hand"),
    "lr_scheduler_config*": Refuse("write `training.lr_scheduler_type` by hand"),
    "seed": To("training.seed"),
    "full_determinism": To("training.full_determinism"),
    "save_steps": To("checkpoint.save_steps"),
    "save_total_limit": To("checkpoint.save_total_limit"),
    "save_epochs": Leave("checkpoints are saved every few minutes, and none is lost"),
    "save_ckpt_as_hf": Leave("checkpoints are saved every few minutes, and none is lost"),
    "resume_from_checkpoint": Refuse("a checkpoint of LLaMA-Factory cannot be gone on from"),
    "logging_steps": To("training.logging_steps"),
    "sample_backend": Leave("`evaluate:` generates before and after"),
    "max_new_tokens": Leave("`evaluate:` generates before and after"),
    "report_to": Leave(values.LOGGING),
}
"""Each key that its argument classes have."""

_ADAPTER = ("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora", "modules_to_save")
_ANSWER = {"role": "assistant", "content": "{output}"}
_ALPACA = [{"role": "user", "content": "{instruction}{#input}{input}{/input}"}, _ANSWER]
"""Instruction and input are joined without anything between them."""


def convert(config: Config, draft: Draft, folder: Path) -> None:
    """Convert a config; arguments as for `runner.peers.llamafactory.convert`.

    Raises:
        UserError: the file that `train_dataset` names is not there, or cannot be read.
    """
    for key, path in (("train_dataset", "data.train"), ("eval_dataset", "data.eval")):
        listed = config.take(key)
        if listed is not None:
            draft.put(path, _entries(str(listed), key, draft, folder), key=key, why="by the file that it names")
    draft.recipe["method"] = draft.method
    _adapter(config, draft)
    _several_gpus(config, draft)
    if config.has("max_steps") and config.has("num_train_epochs"):
        config.take("num_train_epochs")
        draft.leave("num_train_epochs", "`max_steps` counts")
    if draft.find("data.eval") is not None:
        draft.add("training.eval_strategy", "epoch", "there is something to evaluate on")
    apply(TABLE, config, draft)
    draft.add("model.dtype", "auto", "the dtype that the model is published in")
    draft.add("training.per_device_train_batch_size", 1, "LLaMA-Factory's default")
    draft.add("training.max_length", 2048, "LLaMA-Factory's default")
    draft.add("training.learning_rate", 1.0e-4, "LLaMA-Factory's default")
    draft.add("training.lr_scheduler_type", "constant", "LLaMA-Factory's default")
    draft.add("training.weight_decay", 0.01, "the default of torch's AdamW; transformers' is 0")
    if draft.method == "sft":
        draft.add("training.assistant_only_loss", True, "the loss sees the answers only")


def _adapter(config: Config, draft: Draft) -> None:
    peft = config.take("peft_config")
    if peft is not None and peft.get("name") != "lora":
        draft.refuse(
            "peft_config.name", f"{peft.get('name')!r}: lora is the adapter, and no part of the weights is frozen"
        )
    elif peft is not None:
        for key in sorted(peft.keys() - {"name", *_ADAPTER}):
            draft.refuse(f"peft_config.{key}", "runner knows nothing of this key")
        made = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": "all"}
        made |= {key: value for key, value in peft.items() if key in _ADAPTER and value is not None}
        made["target_modules"] = "all-linear" if made["target_modules"] == "all" else made["target_modules"]
        draft.put("adapter", made, key="peft_config", why="an adapter of peft's, with LLaMA-Factory's defaults")
    quantization = config.take("quant_config")
    if quantization is not None:
        values.quantize(draft, "quant_config.quantization_bit", quantization.get("quantization_bit"))
        if quantization.get("quantization_bit") == 4:
            draft.put("model.bnb_4bit_quant_type", quantization.get("quantization_type", "nf4"), key="quant_config")
            double = quantization.get("double_quantization", True)
            draft.put("model.bnb_4bit_use_double_quant", double, key="quant_config")
            draft.put("model.bnb_4bit_compute_dtype", quantization.get("compute_dtype", "float16"), key="quant_config")


def _several_gpus(config: Config, draft: Draft) -> None:
    spread = config.take("dist_config")
    if spread is None:
        return
    if spread.get("name") == "fsdp2":
        values.put_strategy(draft, "dist_config.name (fsdp2)", "zero3", "fsdp2")
    elif spread.get("name") == "deepspeed":
        file = str(spread.get("config_file"))
        values.put_strategy(draft, "dist_config.config_file", values.deepspeed_strategy(file), file)
    else:
        draft.refuse("dist_config.name", f"runner does not train with {spread.get('name')!r}")


def _entries(listed: str, key: str, draft: Draft, folder: Path) -> list[dict[str, Any]]:
    base = next((base for base in (folder, *folder.parents[:3]) if (base / listed).is_file()), None)
    if base is None:
        if Path(listed).suffix in (".yaml", ".yml"):
            raise UserError("the file is not there", where=listed, remedy="bring LLaMA-Factory's data folder along")
        return [{"path": listed}]
    try:
        content = yaml.safe_load((base / listed).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"the file cannot be read: {error}", where=listed) from None
    made = [_entry(name, entry, key, draft, base) for name, entry in dict(content or {}).items()]
    return [entry for entry in made if entry is not None]


def _entry(name: str, entry: Mapping[str, Any], key: str, draft: Draft, base: Path) -> dict[str, Any] | None:
    converter = entry.get("converter")
    path = str(entry.get("path"))
    source: dict[str, Any] = {"path": str(base / path) if (base / path).exists() else path}
    if entry.get("split", "train") != "train":
        source["split"] = entry["split"]
    if entry.get("size"):
        source["split"] = values.head_of(entry.get("split", "train"), entry["size"])
    if converter == "pair":
        draft.method = "dpo"
        return source
    if converter == "alpaca":
        return {**source, "template": {"messages": _ALPACA}}
    if converter in ("sharegpt", "openai", None):
        return source
    draft.refuse(key, f"{name}: {converter!r} reads rows in a way of its own: write `template:`")
    return None
