"""Read, convert, mix and split a recipe's data, with the same result on every machine and in every attempt.

All random choices come from `random.Random`, seeded with ``training.seed`` and the entry's place in the recipe: nothing
depends on a cache, on what was read before, or on the random streams of the training.
"""

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Json, Value, concatenate_datasets, disable_caching
from datasets.fingerprint import get_temporary_cache_files_directory

from runner.errors import UserError
from runner.recipe.recipe import DataSource, ExactMatch, Recipe
from runner.train.data.entries import MESSAGES, Entry, recognize_entry
from runner.train.data.formats import Row, RowLayout, UnusableRow, row_converter
from runner.train.data.sampling import select_rows
from runner.train.data.sources import read_source
from runner.train.evaluation.exact_match import ANSWER, Question, find_questions

DEFAULT_SEED = 42
"""transformers' default for ``seed``."""

_FEATURES: Mapping[RowLayout, Mapping[str, Any]] = {
    RowLayout.CONVERSATION: {"messages": MESSAGES, "tools": Json()},
    RowLayout.MESSAGE_PAIR: {"prompt": MESSAGES, "completion": MESSAGES, "tools": Json()},
    RowLayout.PAIR: {"prompt": Value("string"), "completion": Value("string")},
    RowLayout.TEXT: {"text": Value("string")},
    RowLayout.PREFERENCE: {"prompt": Value("string"), "chosen": Value("string"), "rejected": Value("string")},
    RowLayout.PREFERENCE_MESSAGES: {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "tools": Json()},
    RowLayout.PROMPT: {"prompt": Value("string")},
    RowLayout.PROMPT_MESSAGES: {"prompt": MESSAGES},
}
_PROMPT_LAYOUTS = (RowLayout.PROMPT, RowLayout.PROMPT_MESSAGES)


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """A trainer's data, and sentences about it for the log."""

    train: Dataset
    """The mixture, shuffled, in the columns of `shape`."""
    eval: Dataset | None
    """The evaluation data, in the same columns; None if the recipe has none."""
    shape: RowLayout
    """The layout of each row."""
    questions: tuple[Question, ...] = ()
    """The evaluation rows whose answers are checked, if the recipe has `evaluate.exact_match`."""
    thinks: bool
    """Whether answers hold reasoning, which the chat template must not drop."""
    notes: tuple[str, ...]
    """Sentences for the log: rows that were dropped and why, formats that were mixed."""

    @property
    def conversational(self) -> bool:
        """Whether rows go through the tokenizer's chat template."""
        return self.shape.is_conversational


def keep_temporary_files_in(folder: Path) -> None:
    """Make `datasets` write its temporary files to `folder`, which is removed with the attempt however that ends.

    Left alone, `datasets` makes a folder below ``TMPDIR`` and only removes it when Python exits normally
    (`datasets.fingerprint`): each attempt would leave its tokenized data on the machine. A process has one such folder:
    the first call decides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        Path(get_temporary_cache_files_directory()).mkdir(parents=True, exist_ok=True)
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def load_data(recipe: Recipe, *, inputs: Callable[[str], Path]) -> TrainingData:
    """Return the training and evaluation data of a recipe.

    Turns off the caching of `datasets` in this process: rows that an earlier attempt converted, perhaps with an earlier
    version of a library, must not be reused.

    Args:
        recipe: the stage's.
        inputs: returns the local copy of a file that was uploaded with the recipe (``inputs/<digest>/<name>``).

    Raises:
        UserError: the data cannot be read as the recipe's `data` says.
    """
    disable_caching()
    seed = int(recipe.training.get("seed", DEFAULT_SEED))
    text_field = str(recipe.training.get("dataset_text_field", "text"))

    notes: list[str] = []

    def entries(section: str, sources: Sequence[DataSource]) -> list[Entry]:
        places = [f"data.{section}.{index}" for index in range(len(sources))]
        return [
            recognize_entry(
                select_rows(read_source(source, where=where, inputs=inputs), source, where, seed, notes),
                source,
                where,
                text_field,
                recipe.method,
            )
            for where, source in zip(places, sources, strict=True)
        ]

    train_entries, eval_entries = entries("train", recipe.data.train), entries("eval", recipe.data.eval)
    shape = _common_layout([*train_entries, *eval_entries], notes)
    _check_loss_settings(recipe.training, shape)
    answer = _answer_column(recipe.evaluate.exact_match, shape)
    train = _mixture(train_entries, shape, notes, answer=None if eval_entries else answer)
    order = list(range(len(train)))
    random.Random(f"{seed}:data.train").shuffle(order)
    held_out = _held_out_count(recipe.data.eval_from_train, len(order))
    evaluation = None
    if eval_entries:
        evaluation = _mixture(eval_entries, shape, notes, answer=answer)
    elif held_out:
        evaluation = train.select(order[-held_out:])
    train = train.select(order[: len(order) - held_out])
    checked: tuple[Question, ...] = ()
    if recipe.evaluate.exact_match is not None and evaluation is not None:
        checked = _find_questions(evaluation, recipe.evaluate.exact_match, notes)
        # Trainers must not see the column.
        train, evaluation = (
            rows.remove_columns(ANSWER) if ANSWER in rows.column_names else rows for rows in (train, evaluation)
        )
    rename = {"text": text_field} if shape is RowLayout.TEXT and text_field != "text" else {}
    return TrainingData(
        train=train.rename_columns(rename),
        eval=None if evaluation is None else evaluation.rename_columns(rename),
        shape=shape,
        questions=checked,
        thinks=any(source.think for source in (*recipe.data.train, *recipe.data.eval)),
        notes=tuple(notes),
    )


def _common_layout(entries: Sequence[Entry], notes: list[str]) -> RowLayout:
    """Return the one layout that all entries can take; add to `notes` which entries change theirs."""
    shapes = {entry.shape for entry in entries}
    if len(shapes) == 1:
        return shapes.pop()
    first, second = next((a, b) for a, b in itertools.pairwise(entries) if a.shape is not b.shape)
    of_turns = (RowLayout.CONVERSATION, RowLayout.MESSAGE_PAIR)
    if not all(entry.shape in of_turns or entry.format == "alpaca" for entry in entries):
        raise UserError(
            f"{first.where} holds {first.shape.value} and {second.where} {second.shape.value}: they cannot be mixed",
            where="data",
            remedy="Bring both to one format; messages is the one that most can be written in.",
        )
    shape = RowLayout.CONVERSATION if RowLayout.CONVERSATION in shapes else RowLayout.MESSAGE_PAIR
    changed = ", ".join(entry.where for entry in entries if entry.shape is not shape)
    if any(entry.convert for entry in entries) and shape is RowLayout.CONVERSATION:
        conversation = next(entry.where for entry in entries if entry.shape is shape)
        raise UserError(
            f"{conversation} holds conversations, and other entries answers that think: they cannot be mixed",
            where="data",
            remedy="Write think: true there too, or leave think out everywhere.",
        )
    notes.append(f"{changed}: taken as {shape.value}, like the rest of the data.")
    return shape


def _check_loss_settings(training: Mapping[str, Any], shape: RowLayout) -> None:
    """Refuse loss settings that do not fit the data: TRL silently ignores the first and crashes on the second."""
    if training.get("completion_only_loss") and shape in (RowLayout.CONVERSATION, RowLayout.TEXT):
        raise UserError(
            f"the data are {shape.value}, which have no completion",
            where="training.completion_only_loss",
            remedy="For conversations, assistant_only_loss: true is what trains on the answers alone.",
        )
    if training.get("assistant_only_loss") and not shape.is_conversational:
        raise UserError(
            f"the data are {shape.value}, which have no assistant's turns",
            where="training.assistant_only_loss",
            remedy="Leave it out: the loss on pairs is on the completion alone.",
        )


def _answer_column(settings: ExactMatch | None, shape: RowLayout) -> str | None:
    """Return the column that holds the right answers; None if the rows' own completions do."""
    if settings is None:
        return None
    if shape is RowLayout.TEXT:
        raise UserError(
            "plain text asks nothing that could be answered", where="evaluate.exact_match", remedy="Leave it out."
        )
    return settings.answer or ("answer" if shape in _PROMPT_LAYOUTS else None)


def _find_questions(rows: Dataset, settings: ExactMatch, notes: list[str]) -> tuple[Question, ...]:
    questions = find_questions(rows, settings)
    if not questions:
        raise UserError(
            f"none of the {len(rows)} evaluation rows has an answer that can be made out",
            where="evaluate.exact_match",
            remedy='End completions with "Final Answer: …", or name the column that holds it: {answer: …}.',
        )
    notes.append(f"evaluate.exact_match: {len(questions)} of {len(rows)} evaluation rows are checked.")
    return questions


def _mixture(entries: Sequence[Entry], shape: RowLayout, notes: list[str], *, answer: str | None) -> Dataset:
    """Return the usable rows of all entries, one entry after the other, in one layout.

    Args:
        entries: the entries to mix.
        shape: the layout of the result.
        notes: gets a sentence on dropped rows.
        answer: the column to keep as `ANSWER` beside those of the layout; None if there is none.
    """
    features = dict(_FEATURES[shape])
    if shape in _PROMPT_LAYOUTS:
        features = {**_columns_for_rewards(entries), **features}
    if not any("tools" in entry.dataset.column_names for entry in entries):
        features.pop("tools", None)
    for entry in entries if answer is not None else ():
        if answer not in entry.dataset.column_names:
            raise UserError(
                f"there is no column {answer}",
                where=f"evaluate.exact_match.answer, {entry.where}",
                remedy=f"Its columns: {', '.join(entry.dataset.column_names)}.",
            )
    if answer is not None:
        features[ANSWER] = Value("string")
    return concatenate_datasets([_convert_entry(entry, shape, Features(features), answer, notes) for entry in entries])


def _columns_for_rewards(entries: Sequence[Entry]) -> Features:
    """Return the columns beside the prompts, which reward functions get: all rows must have the same."""
    for entry in entries[1:]:
        if set(entry.dataset.column_names) != set(entries[0].dataset.column_names):
            raise UserError(
                f"{entries[0].where} and {entry.where} differ in their columns, which reward functions are given",
                where="data",
                remedy="Write a template for each that makes the same columns.",
            )
    return entries[0].dataset.features


def _convert_entry(entry: Entry, shape: RowLayout, features: Features, answer: str | None, notes: list[str]) -> Dataset:
    convert = entry.convert or row_converter(entry.format, shape)
    dropped: Counter[str] = Counter()

    def convert_batch(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        rows: list[Row] = []
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(batch, values, strict=True))
            try:
                rows.append(convert(row))
                if answer is not None:
                    rows[-1][ANSWER] = None if row[answer] is None else str(row[answer])
            except UnusableRow as fault:
                dropped[str(fault)] += 1
        return {column: [row[column] for row in rows] for column in features}

    dataset = entry.dataset.map(
        convert_batch,
        batched=True,
        remove_columns=entry.dataset.column_names,
        features=features,
        load_from_cache_file=False,
        desc=f"Reading {entry.where}",
    )
    if dropped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
        summary = f"{dropped.total()} of {len(entry.dataset)} rows"
        if len(dataset) == 0:
            raise UserError(f"no row can be used as {entry.format}: {reasons}", where=entry.where)
        notes.append(f"{entry.where}: dropped {summary} ({reasons}).")
    return dataset


def _held_out_count(part: float | None, rows: int) -> int:
    """Return how many of the mixture's rows are kept for evaluation."""
    if part is None:
        return 0
    count = part if isinstance(part, int) else max(1, round(part * rows))
    if count >= rows:
        raise UserError(f"holding out {count} of {rows} rows leaves none to train on", where="data.eval.from_train")
    return count
