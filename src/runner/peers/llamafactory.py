"""LLaMA-Factory's YAML (its documentation and hparams of August 2026: https://llamafactory.readthedocs.io)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.peers import llamafactory_v1, values
from runner.peers.draft import Config, Draft, Remark
from runner.peers.rules import apply
from runner.peers.tables.llamafactory import TABLE, names

_STAGES = {"sft": "sft", "pt": "cpt", "dpo": "dpo"}


def convert(config: Config, draft: Draft, folder: Path) -> None:
    """Convert a config of LLaMA-Factory's.

    Args:
        config: what it says.
        draft: what becomes of it.
        folder: where the config is; `dataset_dir` is relative to its parents.

    Raises:
        UserError: ``dataset_info.json`` is not found or cannot be read.
    """
    if "train_dataset" in config.content:
        llamafactory_v1.convert(config, draft, folder)
        return
    stage = config.take("stage", "sft")
    draft.method = _STAGES.get(stage, "sft")
    if stage in _STAGES:
        draft.put("method", draft.method, key="stage")
    else:
        draft.refuse("stage", f"{values.NO_METHODS.get(stage, stage)} is not a method of runner")
    loss = config.take("pref_loss")
    if loss in ("sigmoid", "hinge", "ipo"):
        draft.put("training.loss_type", [loss], key="pref_loss")
    elif loss is not None:
        draft.refuse("pref_loss", f"{values.NO_METHODS.get(loss, loss)} is not a method of runner")
    _adapter(config, draft)
    _data(config, draft, folder)
    deepspeed = config.take("deepspeed")
    if deepspeed:
        values.put_strategy(draft, "deepspeed", values.deepspeed_strategy(str(deepspeed)), deepspeed)
    if config.take("fsdp"):
        values.put_strategy(draft, "fsdp", "zero3", "fsdp")
        config.take("fsdp_config")
    if config.has("max_steps") and config.has("num_train_epochs"):
        config.take("num_train_epochs")
        draft.leave("num_train_epochs", "`max_steps` counts")
    if draft.find("data.eval") is None:
        for key in ("eval_strategy", "evaluation_strategy", "eval_steps", "per_device_eval_batch_size"):
            if config.has(key):
                config.take(key)
                draft.leave(key, "there is nothing to evaluate on")
    if draft.method == "dpo" and config.take("packing"):
        draft.leave("packing", "pairs are not packed")
    apply(TABLE, config, draft, own_names="")
    draft.add("training.learning_rate", 5.0e-5, "the default of transformers, which LLaMA-Factory takes")
    draft.add("training.max_length", 2048, "LLaMA-Factory's default")


def _adapter(config: Config, draft: Draft) -> None:
    kind = config.take("finetuning_type", "lora")
    if kind == "lora":
        draft.put("adapter", {}, key="finetuning_type", why="an adapter of peft's")
        target = config.take("lora_target", "all")
        draft.put("adapter.target_modules", "all-linear" if target == "all" else names(target), key="lora_target")
        rank = config.content.get("lora_rank", 8)
        draft.recipe["adapter"].update({"r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0})
        draft.remarks.append(_defaults_of_adapter())
        if config.content.get("bf16") and not config.has("quantization_bit"):
            draft.add("model.dtype", "bfloat16", "LLaMA-Factory loads a frozen base in the dtype that is computed in")
        if config.take("pissa_init"):
            rounds = config.take("pissa_iter", 16)
            draft.put(
                "adapter.init_lora_weights", "pissa" if rounds == -1 else f"pissa_niter_{rounds}", key="pissa_init"
            )
            config.take("pissa_convert")
    elif kind != "full":
        draft.refuse("finetuning_type", f"{kind!r}: parts of the weights cannot be frozen, and lora is the adapter")
    bits = config.take("quantization_bit")
    if bits is not None:
        values.quantize(draft, "quantization_bit", bits)
        if bits == 4:
            draft.add("model.bnb_4bit_quant_type", "nf4", "LLaMA-Factory's default")
            draft.add("model.bnb_4bit_use_double_quant", True, "LLaMA-Factory's default")
            draft.add(
                "model.bnb_4bit_compute_dtype",
                "bfloat16" if config.content.get("bf16") else "float16",
                "what it computes in",
            )


def _defaults_of_adapter() -> Remark:
    return Remark("", "added", "LLaMA-Factory's defaults: rank 8, lora_alpha twice the rank, no dropout", "adapter")


def _data(config: Config, draft: Draft, folder: Path) -> None:
    info: Mapping[str, Any] | None = None
    limit = config.take("max_samples")
    where = config.take("dataset_dir", "data")
    sections = {"dataset": "data.train", "eval_dataset": "data.eval"}
    kinds: set[str] = set()
    for key, path in sections.items():
        listed = names(config.take(key))
        if not listed:
            continue
        info = info or _registry(folder, str(where))
        entries = [_entry(name, info, draft, key, kinds, limit if key == "dataset" else None) for name in listed]
        draft.put(path, [entry for entry in entries if entry is not None], key=key, why="by dataset_info.json")
    if not config.has("dataset"):
        draft.refuse("dataset", "there is none")
    held = config.take("val_size", 0)
    if held:
        draft.put("data.eval", {"from_train": values.eval_share(held)}, key="val_size")
    template = config.take("template")
    model = str(config.content.get("model_name_or_path", ""))
    if template in (None, "empty", "default") and draft.method == "cpt":
        pass
    elif template in ("chatml", "llama3", "gemma") and draft.method == "sft" and not values.has_template(model):
        draft.put("training.chat_template_path", template, key="template", why="a template of this name")
    elif template is not None and draft.method != "cpt" and not values.has_template(model):
        draft.refuse(
            "template", f"{template!r} by name: a base model needs it as a file, in `training.chat_template_path`"
        )
    elif template is not None:
        draft.leave("template", f"the model's own chat template is taken; see that it is {template!r}")
    on_prompt = config.take("train_on_prompt", False)
    if draft.method == "sft" and "turns" in kinds:
        draft.add(
            "training.assistant_only_loss", not on_prompt, "LLaMA-Factory's default: the loss sees the answers only"
        )
    elif draft.method == "sft" and on_prompt:
        draft.put("training.completion_only_loss", False, key="train_on_prompt")


def _registry(folder: Path, where: str) -> Mapping[str, Any]:
    for base in (folder, *folder.parents[:3]):
        for path in (base / where / "dataset_info.json", base / "dataset_info.json"):
            if path.is_file():
                try:
                    content = json.loads(path.read_text(encoding="utf-8"))
                except (OSError, ValueError) as error:
                    raise UserError(f"the file cannot be read: {error}", where=str(path)) from None
                if isinstance(content, dict):
                    return {**content, "": str(path.parent)}
    raise UserError(
        "dataset_info.json is not there, which says what the names of datasets mean",
        where=str(folder),
        remedy="bring LLaMA-Factory's data folder along, beside the config",
    )


def _entry(
    name: str, info: Mapping[str, Any], draft: Draft, key: str, kinds: set[str], limit: int | None
) -> dict[str, Any] | None:
    entry = info.get(name)
    if not isinstance(entry, Mapping):
        draft.refuse(key, f"{name!r} is not in dataset_info.json")
        return None
    if entry.get("script_url") or entry.get("cloud_file_name"):
        draft.refuse(key, f"{name!r} is made by a script")
        return None
    if "file_name" in entry and "hf_hub_url" not in entry:
        source: dict[str, Any] = {"path": str(Path(info[""]) / entry["file_name"])}
    else:
        source = {"path": entry.get("hf_hub_url")}
    if entry.get("subset"):
        source["name"] = entry["subset"]
    split = entry.get("split", "train")
    limit = limit or entry.get("num_samples")
    if limit:
        source["split"] = values.head_of(split, limit)
    elif split != "train":
        source["split"] = split
    columns = {str(role): str(column) for role, column in (entry.get("columns") or {}).items()}
    if entry.get("formatting", "alpaca") == "sharegpt":
        return _turns(entry, columns, source, draft, key, name, kinds)
    if draft.method == "cpt":
        return {**source, "template": {"text": f"{{{columns.get('prompt', 'instruction')}}}"}}
    if draft.method == "dpo" or entry.get("ranking"):
        template = {
            "prompt": f"{{{columns.get('prompt', 'instruction')}}}",
            "chosen": f"{{{columns.get('chosen', 'chosen')}}}",
            "rejected": f"{{{columns.get('rejected', 'rejected')}}}",
        }
        return {**source, "template": template}
    kinds.add("pairs")
    usual = {"prompt": "instruction", "query": "input", "response": "output"}
    if all(columns.get(role, column) == column for role, column in usual.items()):
        return {**source, "format": "alpaca"}
    prompt, answer, query = (
        columns.get("prompt", "instruction"),
        columns.get("response", "output"),
        columns.get("query"),
    )
    if query or columns.get("history"):
        draft.refuse(key, f"{name!r}: rename its columns to instruction, input and output, or write `template:`")
        return None
    turns: dict[str, list[dict[str, str]]] = {
        "prompt": [{"role": "user", "content": f"{{{prompt}}}"}],
        "completion": [{"role": "assistant", "content": f"{{{answer}}}"}],
    }
    if columns.get("system"):
        turns["prompt"].insert(0, {"role": "system", "content": f"{{{columns['system']}}}"})
    return {**source, "template": turns}


def _turns(
    entry: Mapping[str, Any],
    columns: Mapping[str, str],
    source: dict[str, Any],
    draft: Draft,
    key: str,
    name: str,
    kinds: set[str],
) -> dict[str, Any] | None:
    tags = entry.get("tags") or {}
    role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")
    if (role, content) not in (("role", "content"), ("from", "value")):
        draft.refuse(key, f"{name!r}: turns with {role!r} and {content!r}: role and content, or from and value")
        return None
    if columns.keys() & {"images", "videos", "audios", "kto_tag"}:
        draft.refuse(
            key, f"{name!r} has {', '.join(sorted(columns.keys() & {'images', 'videos', 'audios', 'kto_tag'}))}"
        )
        return None
    kinds.add("turns")
    column = columns.get("messages", "conversations")
    if draft.method == "dpo" or entry.get("ranking"):
        template = {
            "prompt": f"{{{column}}}",
            "chosen": f"{{{columns.get('chosen', 'chosen')}}}",
            "rejected": f"{{{columns.get('rejected', 'rejected')}}}",
        }
        return {**source, "template": template}
    return source if column in ("messages", "conversations") else {**source, "template": {"messages": f"{{{column}}}"}}
