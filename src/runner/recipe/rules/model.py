"""Rules for `model:` and `adapter:`."""

from collections.abc import Iterator

from runner.recipe.problems import Problem
from runner.recipe.rules.context import RuleContext, problem_at


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
    targets = context.recipe.adapter.get("target_modules")
    if targets == "lm_head" or (isinstance(targets, list) and "lm_head" in targets):
        yield problem_at(
            "adapter.target_modules",
            "an adapter on `lm_head` would never be trained: TRL computes the loss from its weight directly",
            "take `lm_head` out; `modules_to_save: [lm_head]` trains it in full",
        )
