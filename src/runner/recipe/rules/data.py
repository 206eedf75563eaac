"""Rules for `data:`."""

import re
from collections.abc import Iterator

from runner.recipe.inputs.local_rows import SUFFIXES
from runner.recipe.inputs.references import is_local
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.rules.context import RuleContext, problem_at

_SPLIT = re.compile(r"\w[\w.-]*(\[(-?\d+%?)?:(-?\d+%?)?\](\((closest|pct1_dropremainder)\))?)?")


def shares(context: RuleContext) -> Iterator[Problem]:
    """Refuse 1.0: it is not a fraction below 1, and as a number of rows it would mean one row, not all."""
    amounts: dict[RecipePath, float | int | None] = {
        ("data", "eval", "from_train"): context.recipe.data.eval_from_train
    }
    for section, entries in (("train", context.recipe.data.train), ("eval", context.recipe.data.eval)):
        amounts |= {("data", section, index, "sample"): entry.sample for index, entry in enumerate(entries)}
    for path, amount in amounts.items():
        if isinstance(amount, float) and amount >= 1:
            yield Problem(
                path,
                f"{amount} is neither a fraction below 1 nor a number of rows",
                "write 0.1 for a tenth, 100 for 100 rows",
            )


def local_names(context: RuleContext) -> Iterator[Problem]:
    """Refuse revisions, configurations and splits for local data: only the hub has them; a file is one split."""
    model = context.recipe.model
    not_on_hub = is_local(model["model_name_or_path"]) or model["model_name_or_path"].startswith("builtin:")
    if not_on_hub and context.value("model.model_revision") != "main":
        yield problem_at("model.model_revision", "only models of the hub have revisions", "leave it out")
    for section, entries in (("train", context.recipe.data.train), ("eval", context.recipe.data.eval)):
        for index, entry in enumerate(entries):
            at: RecipePath = ("data", section, index)
            if not (is_local(entry.path) or entry.path.startswith(("builtin:", "inputs/"))):
                yield from _split(at, entry.split)
                continue
            if entry.revision is not None:
                yield Problem((*at, "revision"), "only datasets of the hub have revisions", "leave it out")
            is_file = not is_local(entry.path) or entry.path.lower().endswith(SUFFIXES)
            if is_file and entry.name is not None:
                yield Problem((*at, "name"), "only datasets of the hub have configurations", "leave it out")
            if is_file and entry.split.partition("[")[0].strip() != "train":
                yield Problem((*at, "split"), f"{show(entry.split)}: a file has one split, `train`", "leave it out")
            elif entry.path.startswith("builtin:") and entry.split != "train":
                yield Problem((*at, "split"), f"{show(entry.split)}: it has only `train`", "draw a part with `sample`")
            else:
                yield from _split(at, entry.split)


def _split(at: RecipePath, split: str) -> Iterator[Problem]:
    if not all(_SPLIT.fullmatch(part.strip()) for part in split.split("+")):
        yield Problem((*at, "split"), f"{show(split)} is not a split", "write `train`, `train[:10%]` or `train[:500]`")
