"""Values that several tools write alike, as a recipe has them."""

import re
from typing import Any

from runner.peers.draft import Draft

SPEED = "speed and memory only; runner chooses what the machine has"
LOGGING = "runner keeps all metrics by itself; `report_to:` names a tracker besides"
PLACES = "the store has a place for everything"
SERVERS = "the machine's address and processes are runner's to set"

DTYPES = {name: name for name in ("auto", "bfloat16", "float16", "float32")} | {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "torch.bfloat16": "bfloat16",
    "torch.float16": "float16",
    "torch.float32": "float32",
}
"""Names of dtypes, as they are written, and as `model.dtype` has them."""

NO_METHODS = {
    "kto": "KTO",
    "orpo": "ORPO",
    "cpo": "CPO",
    "simpo": "SimPO",
    "ppo": "PPO",
    "rm": "reward models",
    "reward": "reward models",
    "prm": "process reward models",
    "rloo": "RLOO",
    "gkd": "distillation",
    "gold": "distillation",
}
"""Methods that no recipe has, by their names elsewhere."""

_INSTRUCT = re.compile(
    r"(?i)(^|[-_. /])(instruct|it|chat|assistant|zephyr|hermes|distill|thinking|sft|dpo|tulu|r1)([-_. ]|\d|$)"
)

_TEMPLATED = re.compile(r"(?i)^(qwen|qwq|deepseek[-_]?(v[23]|r1)|gpt-oss)")


def number(value: Any) -> Any:
    """A number that YAML 1.1 takes for text (``2e-5``) as a number; anything else as it is."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", value.strip()):
        return float(value)
    return value


def numbers(value: Any) -> Any:
    """The same for everything in a value."""
    if isinstance(value, dict):
        return {key: numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [numbers(one) for one in value]
    return number(value)


def is_instruct(model: str) -> bool:
    """Whether a model's name says that it follows instructions, and so has a chat template of its own."""
    return _INSTRUCT.search(model.rsplit("/", 1)[-1]) is not None


def has_template(model: str) -> bool:
    """Whether a model's name says that its tokenizer has a chat template: it follows instructions, or it is of a family
    whose base models have one too."""
    return is_instruct(model) or _TEMPLATED.search(model.rsplit("/", 1)[-1]) is not None


def deepspeed_strategy(text: str) -> str | None:
    """The strategy that the name of a DeepSpeed or accelerate file says; None: it says none."""
    found = re.search(r"(?i)z(?:ero)?[-_]?(?:stage)?[-_]?([0123])|(?:ds|stage)[-_]?([0123])", text)
    if found is None:
        return "zero3" if re.search(r"(?i)fsdp", text) else None
    stage = found[1] or found[2]
    if stage == "0":
        return "ddp"
    offload = "_offload" if re.search(r"(?i)offload", text) and stage != "1" else ""
    return f"zero{'2' if stage == '1' else stage}{offload}"


def put_strategy(draft: Draft, key: str, strategy: str | None, value: Any) -> None:
    """Write how several GPUs share the work; what is quantized cannot be cut up."""
    quantized = draft.find("model.load_in_4bit") or draft.find("model.load_in_8bit")
    if strategy is None:
        draft.refuse(key, f"{value!r} does not say which ZeRO stage it is: write `training.strategy` by hand")
    elif quantized and strategy.startswith("zero3"):
        draft.refuse(key, "a quantized model cannot be cut up over several GPUs yet")
    else:
        why = "ZeRO-3 cuts weights, gradients and optimizer state up as FSDP does" if "fsdp" in key else ""
        draft.put("training.strategy", strategy, key=key, why=why or "runner writes DeepSpeed's file itself")


def eval_share(value: Any) -> Any:
    """A held-out part as `data.eval.from_train` has it: a share below 1, or a number of rows."""
    return value if isinstance(value, float) and value < 1 else int(value)


def head_of(split: str, rows: Any) -> str:
    """A split's first rows."""
    return f"{split}[:{int(rows)}]"


def quantize(draft: Draft, key: str, bits: Any) -> None:
    """Load the model in 4 or 8 bits."""
    if bits in (4, 8):
        draft.put(f"model.load_in_{bits}bit", True, key=key)
    else:
        draft.refuse(key, f"bitsandbytes has 4 and 8 bits, not {bits}")
