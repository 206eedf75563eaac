"""A recipe's rows as they are trained on: their tokens, and which of them the loss sees. No weights are needed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import SFTTrainer
from trl.chat_template_utils import get_training_chat_template

from runner.errors import UserError
from runner.recipe.formats.answers import answers_only
from runner.recipe.inputs.chat_template import marks_assistant
from runner.recipe.recipe import Recipe
from runner.recipe.schema import recipe_schema
from runner.train.data.chat_template import fit_to_template, named_template
from runner.train.data.loss.answers import IGNORED, tokenize_answers
from runner.train.data.mixture import TrainingData, load_data
from runner.train.data.origins import Origins
from runner.train.methods.cpt import cpt_config
from runner.train.methods.sft import keep_reasoning, sft_config
from runner.train.models.loading import load_tokenizer

Part = tuple[str, bool]
"""A piece of a row's text, and whether the loss sees it."""


@dataclass(frozen=True, kw_only=True)
class PreviewRow:
    """One row as it is trained on."""

    place: str
    """Where it comes from: ``data.train.0, line 5``."""
    parts: tuple[Part, ...]
    """Its text in pieces; what `max_length` cuts off is not among them."""
    tokens: int
    """How many tokens it has, before any are cut off."""
    learned: int
    """How many of those that are left the loss sees."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Some rows of a stage, the lengths of more of them, and sentences about all."""

    rows: tuple[PreviewRow, ...]
    """The first rows of the shuffled mixture."""
    lengths: tuple[int, ...]
    """The tokens of each row that was measured."""
    of: int
    """How many rows the mixture has."""
    max_length: int | None
    """`training.max_length`, with its default; None: nothing is cut."""
    cut: int
    """How many of the measured rows are longer."""
    empty: int
    """How many of them the loss sees nothing of."""
    notes: tuple[str, ...]
    """Sentences on rows that are dropped and why, and on what rows were taken for."""


def preview(recipe: Recipe, *, count: int, measured: int, cache_dir: Path) -> Preview:
    """Return the first rows of a stage as they are trained on, and the lengths of more.

    Args:
        recipe: the stage's, with local paths absolute.
        count: how many rows to show.
        measured: how many rows to tokenize at most.
        cache_dir: where a built-in model is made.

    Raises:
        UserError: the data cannot be read as the recipe says, or the model has no tokenizer.
    """
    tokenizer = load_tokenizer(recipe, cache_dir=cache_dir)
    template = named_template(recipe.training.get("chat_template_path"))
    if template is not None:
        tokenizer.chat_template = template
    elif recipe.training.get("chat_template_path"):
        other = {**recipe.model, "model_name_or_path": recipe.training["chat_template_path"]}
        tokenizer.chat_template = load_tokenizer(_with_model(recipe, other), cache_dir=cache_dir).chat_template
    data = load_data(recipe, inputs=Path, chat_template=lambda: tokenizer.chat_template is not None)
    data = fit_to_template(data, tokenizer, recipe.training)
    rows = data.train.select(range(min(len(data.train), max(count, measured))))
    max_length = _max_length(recipe)
    if recipe.method in ("sft", "cpt"):
        tokens = [(row["input_ids"], row["labels"]) for row in _labelled(recipe, data, rows, tokenizer)]
    else:
        tokens = [pair for row in rows for pair in _pieces(row, tokenizer)]
    each = len(tokens) // max(1, len(rows))
    keep_end = recipe.training.get("truncation_mode") == "keep_end"
    kept = [_cut(ids, labels, max_length, keep_end=keep_end) for ids, labels in tokens]
    shown = []
    for place in range(min(count, len(rows)) * each):
        ids, labels = kept[place]
        name = _place(data.train_origins, place // each) + (("", ", rejected")[place % each] if each == 2 else "")
        shown.append(
            PreviewRow(
                place=name,
                parts=_parts(ids, labels, tokenizer),
                tokens=len(tokens[place][0]),
                learned=sum(label != IGNORED for label in labels[1:]),
            )
        )
    return Preview(
        rows=tuple(shown),
        lengths=tuple(len(ids) for ids, _ in tokens),
        of=len(data.train),
        max_length=max_length,
        cut=0 if max_length is None else sum(len(ids) > max_length for ids, _ in tokens),
        empty=0 if recipe.method == "grpo" else sum(not any(label != IGNORED for label in x[1:]) for _, x in kept),
        notes=data.notes,
    )


def _with_model(recipe: Recipe, model: dict[str, Any]) -> Recipe:
    return replace(recipe, model=model)


def _max_length(recipe: Recipe) -> int | None:
    """Return the length at which rows are cut; None if none is: packed rows go on in the next sequence."""
    properties = recipe_schema(recipe.method)["properties"]["training"]["properties"]

    def value(key: str) -> Any:
        return recipe.training.get(key, properties.get(key, {}).get("default"))

    if value("packing") and value("packing_strategy") != "bfd":
        return None
    length = value("max_length")
    return None if length is None else int(length)


def _labelled(recipe: Recipe, data: TrainingData, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Return rows with tokens and labels, by the code that trains: ours, or TRL's own preparation."""
    training = recipe.training
    prepared = keep_reasoning(replace(data, train=rows, eval=None), tokenizer, training)
    prepared = tokenize_answers(prepared, tokenizer, training)
    if "labels" in prepared.train.column_names:
        return prepared.train
    with tempfile.TemporaryDirectory() as folder:
        args = (cpt_config if recipe.method == "cpt" else sft_config)(recipe, Path(folder))
    args.max_length = None  # whole rows: what is cut off is counted
    args.assistant_only_loss = answers_only(training)
    own = None
    if args.assistant_only_loss and marks_assistant(str(tokenizer.chat_template)):
        own = get_training_chat_template(tokenizer)
    only = {"prompt", "completion"} <= set(rows.column_names)
    # What TRL's preparation reads of its trainer, which would need the model (`kept_rows` checks that it is all).
    reads = SimpleNamespace(
        _tokenizer=tokenizer,
        chat_template=own,
        completion_only_loss=only if args.completion_only_loss is None else args.completion_only_loss,
    )
    made = SFTTrainer._prepare_dataset(cast(Any, reads), prepared.train, tokenizer, args, False, None, "train")
    return cast(Dataset, made)


def _pieces(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> list[tuple[list[int], list[int]]]:
    """Return tokens and labels of a prompt with each of its answers, or of a prompt alone: nothing of it is learned."""
    answers = [row[column] for column in ("chosen", "rejected") if column in row]
    if not isinstance(row["prompt"], list):
        before = tokenizer(row["prompt"])["input_ids"]
        wholes = [tokenizer(row["prompt"] + answer)["input_ids"] + [tokenizer.eos_token_id] for answer in answers]
    else:
        given = {"tools": row.get("tools"), **(row.get("chat_template_kwargs") or {})}

        def ids(messages: Sequence[Any], **more: Any) -> list[int]:
            text = tokenizer.apply_chat_template(list(messages), tokenize=False, **given, **more)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        before = ids(row["prompt"], add_generation_prompt=True)
        wholes = [ids([*row["prompt"], *answer]) for answer in answers]
    if not answers:
        return [(before, [IGNORED] * len(before))]
    made = []
    for whole in wholes:
        same = next((n for n, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), len(before))
        made.append((whole, [IGNORED] * same + whole[same:]))
    return made


def _cut(ids: list[int], labels: list[int], length: int | None, *, keep_end: bool) -> tuple[list[int], list[int]]:
    if length is None or len(ids) <= length:
        return ids, labels
    part = slice(-length, None) if keep_end else slice(length)
    return ids[part], labels[part]


def _parts(ids: Sequence[int], labels: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> tuple[Part, ...]:
    """Return the text of tokens, in pieces that the loss sees or does not see."""
    pieces: list[tuple[list[int], bool]] = []
    for token, label in zip(ids, labels, strict=True):
        learned = label != IGNORED
        if not pieces or pieces[-1][1] is not learned:
            pieces.append(([], learned))
        pieces[-1][0].append(token)
    return tuple((str(tokenizer.decode(piece)), learned) for piece, learned in pieces)


def _place(origins: Origins, place: int) -> str:
    if place >= len(origins):
        raise UserError("the row's origin is not known", where="data.train")
    word, number = origins.place(place)
    return f"{origins.entry(place)}, {word} {number}"
