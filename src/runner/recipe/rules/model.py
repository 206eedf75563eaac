"""Rules for `model:` and `adapter:`."""

import re
from collections.abc import Iterator
from typing import Any

from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at
from runner.recipe.suggestions import closest

_ATTENTION = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3", "flash_attention_4")
"""What transformers' `AttentionInterface` has; ``owner/name`` is a kernel of the hub."""


def attention(context: RuleContext) -> Iterator[Problem]:
    """Refuse an attention that transformers does not have."""
    name = context.value("model.attn_implementation")
    if isinstance(name, str) and "/" not in name and name.removeprefix("paged|") not in _ATTENTION:
        meant = closest(name, _ATTENTION)
        listed = f"choices: {', '.join(_ATTENTION)}"
        remedy = f"did you mean `{meant}`? {listed}" if meant else listed
        yield problem_at("model.attn_implementation", f"{show(name)} is not one of the choices", remedy)


_DTYPES = ("bfloat16", "float16", "float32")
_STORAGE = ("uint8", *_DTYPES)


def dtypes(context: RuleContext) -> Iterator[Problem]:
    """Refuse types of numbers that torch, or bitsandbytes, does not have."""
    for key, choices in (("bnb_4bit_compute_dtype", _DTYPES), ("bnb_4bit_quant_storage", _STORAGE)):
        name = context.value(f"model.{key}")
        if isinstance(name, str) and name.removeprefix("torch.") not in choices:
            meant = closest(name, choices)
            listed = f"choices: {', '.join(choices)}"
            remedy = f"did you mean `{meant}`? {listed}" if meant else listed
            yield problem_at(f"model.{key}", f"{show(name)} is not one of the choices", remedy)
        elif isinstance(name, str) and name.startswith("torch."):
            yield problem_at(f"model.{key}", f"{show(name)} is not one of the choices", f"write `{name[6:]}`")


def quantization(context: RuleContext) -> Iterator[Problem]:
    """Require an adapter for a quantized model, and quantization for the settings that tune it."""
    four, eight = context.value("model.load_in_4bit"), context.value("model.load_in_8bit")
    if four and eight:
        yield problem_at("model.load_in_8bit", "`load_in_4bit` is true as well", "keep one of the two")
    if (four or eight) and context.recipe.adapter is None:
        name = "load_in_4bit" if four else "load_in_8bit"
        yield problem_at(f"model.{name}", "quantized weights cannot be trained", "write an `adapter:`, or load in full")
    for key in context.recipe.model:
        if key.startswith(("bnb_4bit_", "use_bnb_")) and not four and context.asks(f"model.{key}"):
            yield problem_at(
                f"model.{key}", "it has no effect without `load_in_4bit: true`", "write that too, or leave it out"
            )
        if key.startswith("llm_int8_") and not (four or eight) and context.asks(f"model.{key}"):
            yield problem_at(
                f"model.{key}", "it has no effect without `load_in_8bit: true`", "write that too, or leave it out"
            )
    nested = {context.recipe.model.get(key) for key in ("use_bnb_nested_quant", "bnb_4bit_use_double_quant")}
    if nested == {True, False}:
        yield problem_at(
            "model.use_bnb_nested_quant", "`bnb_4bit_use_double_quant` has another value", "keep one of the two"
        )


def adapter(context: RuleContext) -> Iterator[Problem]:
    """Refuse what needs an adapter without one, and adapters that TRL cannot train."""
    if context.recipe.adapter is None:
        if context.recipe.export.merge:
            yield problem_at("export.merge", "there is no adapter to merge", "write an `adapter:`, or leave it out")
        return
    if context.recipe.export.base is not None and not (context.recipe.export.merge or context.recipe.export.gguf):
        yield problem_at("export.base", "nothing is merged", "write `merge: true`, or leave it out")
    start = str(context.recipe.adapter.get("init_lora_weights", True))
    if start.startswith(("eva", "corda", "lora_ga")):
        yield problem_at(
            "adapter.init_lora_weights",
            f"`{start}` needs a pass over the data before training, which is not supported yet",
            "leave it out, or write `gaussian`, `pissa` or `olora`",
        )
    for key in ("target_modules", "exclude_modules"):
        yield from _module_names(key, context.recipe.adapter.get(key))
    checkpointing = context.value("training.activation_checkpointing")
    if checkpointing is None:
        checkpointing = context.value("training.gradient_checkpointing")
    if context.recipe.adapter.get("alora_invocation_tokens") and checkpointing:
        yield problem_at(
            "adapter.alora_invocation_tokens",
            "peft's activated LoRA does not go with gradient checkpointing, which is on by default",
            "write `training: {gradient_checkpointing: false}` too",
        )
    targets = context.recipe.adapter.get("target_modules")
    if targets == "lm_head" or (isinstance(targets, list) and "lm_head" in targets):
        yield problem_at(
            "adapter.target_modules",
            "an adapter on `lm_head` would never be trained: TRL computes the loss from its weight directly",
            "take `lm_head` out; `modules_to_save: [lm_head]` trains it in full",
        )


def _module_names(key: str, written: Any) -> Iterator[Problem]:
    """Refuse texts that peft would take for a regular expression of a whole module name, and match nothing with."""
    at, targets = f"adapter.{key}", key == "target_modules"
    if isinstance(written, list):
        listed = [name for name in written if _means_all(name)]
        if targets and listed:
            what = f"`{listed[0]}` in a list is the name of one module, which no model has"
            yield problem_at(at, what, "write `target_modules: all-linear`, without brackets")
        joined = [name for name in written if "," in name]
        if joined:
            what = f"{show(joined[0])} is several names in one text"
            yield problem_at(at, what, f"write `{key}: {_as_list(', '.join(written))}`")
    elif isinstance(written, str) and written != "all-linear":
        if targets and _means_all(written):
            yield problem_at(at, f"{show(written)} is not the name of a module", "write `target_modules: all-linear`")
        elif re.fullmatch(r"[\w-]+|[\w.\s'\"-]+(,[\w.\s'\"-]*)+|\[[\w.\s'\",-]*\]", written):
            # A plain name, or several: as an expression it would have to match the module's whole path.
            what = f"{show(written)} is text, which peft matches with whole paths such as `model.layers.0.mlp`"
            yield problem_at(at, what, f"write a list: `{key}: {_as_list(written)}`")


def _means_all(name: str) -> bool:
    """Whether a name stands for all layers in other tools, or is a slip of `all-linear`."""
    return re.sub(r"[\W_]", "", name.lower()) in ("all", "linear", "alllinear", "alllinears", "linearall", "auto")


def _as_list(text: str) -> str:
    names = ", ".join(re.findall(r"[\w.-]+", text))
    return f"[{names}]"
