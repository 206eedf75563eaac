"""Values that other tools have for a setting, and what to write instead."""

from collections.abc import Mapping

from runner.recipe.problems import RecipePath
from runner.recipe.recipe import Json

_LORA = "write `method: sft` and `adapter: {r: 16, target_modules: all-linear}`"
_TURNS = "write `format: messages`, or `sharegpt` for turns with `from` and `value`"
_AUTO = "leave it out: it is chosen by what the machine has"
_TO_COME = "it is not supported yet; methods so far: sft, cpt, dpo, grpo"

_METHODS: Mapping[str, str] = {
    "lora": _LORA,
    "peft": _LORA,
    "qlora": f"{_LORA}, with `load_in_4bit: true` under `model:`",
    "full": "write `method: sft` and no `adapter:`, which trains all weights",
    "fft": "write `method: sft` and no `adapter:`, which trains all weights",
    "finetune": "write `method: sft`",
    "instruct": "write `method: sft`",
    "pt": "write `method: cpt`",
    "pretrain": "write `method: cpt`",
    "pretraining": "write `method: cpt`",
    "clm": "write `method: cpt`",
    "ipo": "write `method: dpo` and `training: {loss_type: ipo}`",
    "rlhf": "write `method: dpo` for preferences, or `method: grpo` for rewards",
    **dict.fromkeys(("simpo", "cpo", "rm", "reward_modeling", "bco", "gkd", "online_dpo", "tpo"), _TO_COME),
}
_FORMATS: Mapping[str, str] = {
    **dict.fromkeys(
        ("chatml", "openai", "oai", "chat_template", "chat", "conversation", "conversations", "conversational"), _TURNS
    ),
    "completion": "write `format: text` for plain text, or `prompt_completion` for pairs",
    "pretrain": "write `format: text`",
    "pretraining": "write `format: text`",
    "raw": "write `format: text`",
    "instruct": "write `format: alpaca`, or `prompt_completion`",
    "alpaca_chat": "write `format: alpaca`, which takes rows as turns",
    "input_output": "leave it out and write a template: "
    '`{prompt: [{role: user, content: "{input}"}], completion: [{role: assistant, content: "{output}"}]}`',
    "jsonl": "leave it out: the file's ending says how it is read",
    "json": "leave it out: the file's ending says how it is read",
    "csv": "leave it out: the file's ending says how it is read",
    "parquet": "leave it out: the file's ending says how it is read",
    "dpo": "write `format: preference`",
    "ranking": "write `format: preference`",
}
_LOSSES = {"simpo": _TO_COME, "kto": _TO_COME, "orpo": _TO_COME, "kto_pair": _TO_COME}


def remedy_for_value(path: RecipePath, value: Json) -> str | None:
    """Return what to write instead of another tool's value for a setting; None if it is not known as one.

    Args:
        path: the setting's.
        value: what is written there.
    """
    name = path[-1] if path else None
    if name == "eval" and path[:-1] == ("data",) and isinstance(value, int | float) and not isinstance(value, bool):
        return f"write `eval: {{from_train: {value}}}`"
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    if name == "method":
        return _METHODS.get(word.replace("-", "_"))
    if name == "format":
        return _FORMATS.get(word.replace("-", "_")) or _FORMATS.get(word.partition(".")[0])
    if name == "loss_type":
        return _LOSSES.get(word)
    if word == "auto" and name == "per_device_train_batch_size":
        return "leave it out and write `effective_batch_size`: how it is split is chosen by the GPU's memory"
    if word == "auto":
        return _AUTO if name in ("bf16", "fp16", "tf32", "bf16_full_eval") else "leave it out"
    if name in ("from_train", "sample", "warmup_steps", "eval_steps") and word.endswith("%"):
        share = word.removesuffix("%").strip()
        return f"write {float(share) / 100:g}" if share.replace(".", "", 1).isdecimal() else None
    if path == ("model",):
        return f"write `model: {{model_name_or_path: {value}}}`"
    return None
