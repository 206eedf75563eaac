"""Rules for `export:`."""

import re
from collections.abc import Iterator

from runner.recipe.problems import Problem, show
from runner.recipe.rules.context import RuleContext, problem_at

_REPOSITORY = re.compile(r"(?=.{1,96}$)(?!.*(--|\.\.))([\w][\w.-]*/)?[\w][\w.-]*(?<![.-])", re.ASCII)
"""What `huggingface_hub.utils.validate_repo_id` accepts."""


def export(context: RuleContext) -> Iterator[Problem]:
    """Refuse a quantization twice, and settings of a repository without a push."""
    gguf = context.recipe.export.gguf
    for quantization in dict.fromkeys(name for name in gguf if gguf.count(name) > 1):
        yield problem_at("export.gguf", f"{show(quantization)} is listed twice", "write each once")
    for key in ("hub_model_id", "hub_private_repo"):
        if not context.recipe.export.push_to_hub and context.asks(f"export.{key}"):
            yield problem_at(
                f"export.{key}", "it has no effect without `push_to_hub: true`", "write that too, or leave it out"
            )
    name = context.recipe.export.hub_model_id
    if name is not None and not is_repository(name):
        yield problem_at("export.hub_model_id", f"{show(name)} cannot be a repository's name", "write `owner/name`")


def hub_strategy(context: RuleContext) -> Iterator[Problem]:
    """Refuse `every_save`, the default of transformers, where it is asked for and not only pasted with all others."""
    name = "training.hub_strategy"
    if context.value(name) == "every_save" and context.is_set(name) and not context.is_set("training.push_to_hub"):
        what = "`every_save` is not accepted: results go to the hub once, at the end; checkpoints go to the store"
        yield problem_at(name, what, "leave it out; `export: {push_to_hub: true}` pushes the result")


def is_repository(name: str) -> bool:
    """Whether `name` (``name`` or ``owner/name``) is a valid repository id on the hub."""
    return _REPOSITORY.fullmatch(name) is not None and not name.endswith(".git")
