"""TRL's YAML, as alignment-handbook and open-r1 have it, and its command lines (``trl sft --model_name_or_path …``)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner.errors import UserError
from runner.peers import values
from runner.peers.draft import Config, Draft
from runner.peers.rules import apply
from runner.peers.tables.trl import TABLE

_DATA = (
    "dataset_name",
    "dataset_config",
    "dataset_train_split",
    "dataset_test_split",
    "dataset_mixture",
    "dataset_mixer",
    "dataset_splits",
    "dataset_configs",
)
_METHODS = ("sft", "dpo", "grpo")


def parse_command(words: Sequence[str]) -> dict[str, Any]:
    """The settings of a command line, by name, with the trainer that it starts under ``""``.

    Raises:
        UserError: it is no command line of TRL's.
    """
    said: dict[str, Any] = {}
    method, rest = None, list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            found = re.search(
                r"(?:^|/|\b)(sft|dpo|grpo|kto|reward|rloo|ppo|gkd|orpo|cpo|online_dpo|nash_md|xpo|gold|prm)(?:_[a-z_]+)?(?:\.py)?$",
                word,
            )
            method = found[1] if found and method is None else method
            continue
        name, separator, value = word[2:].partition("=")
        given = [value] if separator else []
        while not separator and rest and not rest[0].startswith("--"):
            given.append(rest.pop(0))
        if method is None and len(given) > 1:  # the program comes after accelerate's own options
            rest[:0] = given[1:]
            given = given[:1]
        name = name.replace("-", "_")
        if name.startswith("no_") and not given:
            said[name[3:]] = False
        else:
            said[name] = True if not given else _value(given[0]) if len(given) == 1 else [_value(one) for one in given]
    if method is None:
        raise UserError(
            "the command line starts no trainer of TRL's", remedy="write it as `trl sft --model_name_or_path …`"
        )
    return {"": method, **said}


def _value(text: str) -> Any:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered in ("none", "null"):
        return None
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    return values.number(text)


def method_of(content: Mapping[str, Any]) -> str:
    """The method that a YAML without a command is for, by the settings that one method alone has."""
    if content.keys() & {"reward_funcs", "num_generations", "max_completion_length"}:
        return "grpo"
    if "beta" in content or ("loss_type" in content and content["loss_type"] not in ("nll", "dft", "chunked_nll")):
        return "dpo"
    return "sft"


def convert(config: Config, draft: Draft) -> None:
    """Convert settings of TRL's scripts."""
    method = config.take("") or method_of(config.content)
    draft.method = method if method in _METHODS else "sft"
    draft.recipe["method"] = draft.method
    if method not in _METHODS:
        draft.refuse("", f"{values.NO_METHODS.get(method, method)} is not a method of runner")
    _adapter(config, draft)
    _data(config, draft)
    _hub(config, draft)
    for key in ("config_file", "accelerate_config", "deepspeed"):
        file = config.take(key)
        if file:
            name = str(file)
            if re.search(r"(?i)(ddp|multi_gpu|single_gpu)", name):
                draft.leave(key, "several GPUs share the work as `ddp` by themselves")
            else:
                values.put_strategy(draft, key, values.deepspeed_strategy(name), file)
    rewards = config.take("reward_funcs")
    if rewards is not None:
        draft.refuse(
            "reward_funcs",
            "reward functions are Python: write them into a file, and name it in `training.reward_funcs`",
        )
    elif draft.method == "grpo":
        draft.refuse("reward_funcs", "there is none")
    config.take("reward_weights")
    for key in [key for key in config.leaves if key.startswith("vllm_")]:
        config.take(key)
    template = config.take("chat_template")
    if template is not None:
        if draft.method == "sft":
            draft.put_file("training.chat_template_path", "chat_template.jinja", str(template), key="chat_template")
        else:
            draft.refuse("chat_template", f"{draft.method} takes the model's own template")
    if config.take("system_prompt"):
        draft.refuse("system_prompt", "write it into `template:` as the first message")
    steps = config.content.get("max_steps", -1)
    if steps in (-1, None):
        config.take("max_steps")
    elif config.has("num_train_epochs"):
        config.take("num_train_epochs")
        draft.leave("num_train_epochs", "`max_steps` counts")
    if config.content.get("bf16") is True and config.content.get("fp16") in (None, False):
        config.take("fp16")
    if draft.method == "dpo" and config.has("padding_free"):
        config.take("padding_free")
        draft.leave("padding_free", values.SPEED)
    apply(TABLE, config, draft, own_names="")


def _adapter(config: Config, draft: Draft) -> None:
    keys = {
        "lora_r": "r",
        "lora_alpha": "lora_alpha",
        "lora_dropout": "lora_dropout",
        "lora_target_modules": "target_modules",
        "lora_modules_to_save": "modules_to_save",
        "use_rslora": "use_rslora",
        "use_dora": "use_dora",
        "lora_target_parameters": "target_parameters",
    }
    used = config.take("use_peft", False)
    if used:
        draft.put(
            "adapter",
            {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05},
            key="use_peft",
            why="an adapter of peft's, with TRL's defaults",
        )
    for key, name in keys.items():
        value = config.take(key)
        if value is None:
            continue
        if used:
            listed = isinstance(value, str) and key.endswith(("modules", "to_save")) and value != "all-linear"
            value = "all-linear" if value == ["all-linear"] else value
            draft.put(f"adapter.{name}", [value] if listed else value, key=key)
        else:
            draft.leave(key, "there is no `use_peft`")
    config.take("lora_task_type")


def _data(config: Config, draft: Draft) -> None:
    evaluates = config.content.get("eval_strategy", config.content.get("evaluation_strategy", "no")) not in (
        "no",
        False,
        None,
    )
    mixture = config.take("dataset_mixture")
    mixer = config.take("dataset_mixer")
    if mixture:
        train = [_mixed(entry) for entry in mixture.get("datasets", [])]
        draft.put("data.train", train, key="dataset_mixture")
        held = mixture.get("test_split_size")
        if held and evaluates:
            draft.put("data.eval", {"from_train": values.eval_share(held)}, key="dataset_mixture")
    elif mixer:
        splits = config.take("dataset_splits", ["train"])
        training = [split for split in splits if "train" in split] or ["train"]
        train = [
            {"path": path} | ({"split": split} if split != "train" else {}) | ({"sample": share} if share < 1 else {})
            for path, share in mixer.items()
            for split in training
        ]
        draft.put("data.train", train, key="dataset_mixer")
        tests = [split for split in splits if "test" in split or "eval" in split]
        if evaluates and tests:
            draft.put(
                "data.eval", [{"path": path, "split": split} for path in mixer for split in tests], key="dataset_splits"
            )
    else:
        name = config.take("dataset_name")
        if name is None:
            draft.refuse("dataset_name", "there is none")
        else:
            entry: dict[str, Any] = {"path": name}
            if config.has("dataset_config"):
                entry["name"] = config.take("dataset_config")
            split = config.take("dataset_train_split", "train")
            draft.put("data.train", [entry | ({"split": split} if split != "train" else {})], key="dataset_name")
            if evaluates:
                test = config.take("dataset_test_split", "test")
                draft.put(
                    "data.eval",
                    [entry | {"split": test}],
                    key="dataset_test_split" if test != "test" else "dataset_name",
                )
    column = config.take("dataset_prompt_column")
    if column not in (None, "prompt"):
        for entry in draft.find("data.train") or []:
            entry["template"] = {"prompt": f"{{{column}}}"}
    for key in _DATA:
        config.take(key)
    if draft.find("data.eval") is None:
        for key in (
            "eval_strategy",
            "evaluation_strategy",
            "eval_steps",
            "per_device_eval_batch_size",
            "eval_on_start",
        ):
            if config.has(key):
                config.take(key)
                draft.leave(key, "there is nothing to evaluate on")


def _mixed(entry: Mapping[str, Any]) -> dict[str, Any]:
    source: dict[str, Any] = {"path": entry.get("id")}
    if entry.get("config") not in (None, "default"):
        source["name"] = entry["config"]
    if entry.get("split", "train") != "train":
        source["split"] = entry["split"]
    weight = entry.get("weight")
    if weight is not None and weight < 1:
        source["sample"] = weight
    return source


def _hub(config: Config, draft: Draft) -> None:
    pushed = config.take("push_to_hub", False)
    names = {"hub_model_id": "hub_model_id", "hub_private_repo": "hub_private_repo"}
    if pushed:
        draft.put("export.push_to_hub", True, key="push_to_hub")
    for key, name in names.items():
        value = config.take(key)
        if value is not None and pushed:
            draft.put(f"export.{name}", value, key=key)
        elif value is not None:
            draft.leave(key, "nothing is pushed")
