"""Read, convert, mix and split a recipe's data, with the same result on every machine and in every attempt.

All random choices come from `random.Random`, seeded with ``training.seed`` and the entry's place in the recipe: nothing
depends on a cache, on what was read before, or on the random streams of the training.
"""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, disable_caching
from datasets.fingerprint import get_temporary_cache_files_directory

from runner.errors import UserError
from runner.recipe.formats.answers import answers_only, turns_to_learn
from runner.recipe.formats.columns import unread_sentence
from runner.recipe.formats.entries import Entry, EntryNeedsPairs
from runner.recipe.formats.layouts import RowLayout, check_loss_settings, common_layout, layout_called, trained_layout
from runner.recipe.formats.reading import reading_of
from runner.recipe.recipe import DataSource, ExactMatch, Recipe
from runner.runs.record_types.result import DroppedRecord
from runner.train.data.conversion import PROMPT_LAYOUTS, ConvertedRows, MixSettings, mix
from runner.train.data.entries import EntryRows, read_entry
from runner.train.data.origins import NO_ORIGINS, Origins
from runner.train.evaluation.exact_match import ANSWER, Question, find_questions

DEFAULT_SEED = 42
"""transformers' default for ``seed``."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """A trainer's data, and sentences about it for the log."""

    train: Dataset
    """The mixture, shuffled, in the columns of `layout`."""
    eval: Dataset | None
    """The evaluation data, in the same columns; None if the recipe has none."""
    layout: RowLayout
    """The layout of each row."""
    questions: tuple[Question, ...] = ()
    """The evaluation rows whose answers are checked, if the recipe has `evaluate.exact_match`."""
    thinks: bool
    """Whether answers hold reasoning, which the chat template must not drop."""
    notes: tuple[str, ...]
    """Sentences for the log: rows that were dropped and why, formats that were mixed, columns that are not read."""
    dropped: tuple[DroppedRecord, ...] = ()
    """The rows that were dropped, for the result."""
    train_origins: Origins = NO_ORIGINS
    """Where each row of `train` comes from."""
    eval_origins: Origins = NO_ORIGINS
    """Where each row of `eval` comes from."""

    @property
    def conversational(self) -> bool:
        """Whether rows go through the tokenizer's chat template."""
        return self.layout.is_conversational


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


def load_data(
    recipe: Recipe, *, inputs: Callable[[str], Path], chat_template: Callable[[], bool] = lambda: True
) -> TrainingData:
    """Return the training and evaluation data of a recipe.

    Turns off the caching of `datasets` in this process: rows that an earlier attempt converted, perhaps with an earlier
    version of a library, must not be reused.

    Args:
        recipe: the stage's.
        inputs: returns the local copy of a file that was uploaded with the recipe (``inputs/<digest>/<name>``).
        chat_template: returns whether the model has a chat template; called only if the rows' meaning depends on it.

    Raises:
        UserError: the data cannot be read as the recipe's `data` says.
    """
    disable_caching()
    seed = int(recipe.training.get("seed", DEFAULT_SEED))
    text_field = str(recipe.training.get("dataset_text_field", "text"))
    notes: list[str] = []
    reading = reading_of(recipe.data, chat_template)

    def parts(section: str, sources: Sequence[DataSource]) -> list[EntryRows]:
        return [
            read_entry(
                source,
                f"data.{section}.{index}",
                inputs=inputs,
                seed=seed,
                text_field=text_field,
                method=recipe.method,
                reading=reading,
                notes=notes,
            )
            for index, source in enumerate(sources)
        ]

    train_parts, eval_parts = parts("train", recipe.data.train), parts("eval", recipe.data.eval)
    mixed = _convert(recipe, train_parts, eval_parts)
    layout, train = mixed.layout, mixed.train.rows
    notes += mixed.notes
    order = list(range(len(train)))
    random.Random(f"{seed}:data.train").shuffle(order)
    held_out = _held_out_count(recipe.data.eval_from_train, len(order))
    evaluation = None
    if mixed.eval is not None:
        evaluation = mixed.eval.rows
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
    rename = {"text": text_field} if layout is RowLayout.TEXT and text_field != "text" else {}
    return TrainingData(
        train=train.rename_columns(rename),
        eval=None if evaluation is None else evaluation.rename_columns(rename),
        layout=layout,
        questions=checked,
        thinks=any(source.think for source in (*recipe.data.train, *recipe.data.eval)),
        notes=tuple(notes),
        dropped=tuple(mixed.dropped),
        train_origins=mixed.train.origins.select(order[: len(order) - held_out]),
        eval_origins=mixed.eval.origins if mixed.eval else mixed.train.origins.select(order[len(order) - held_out :]),
    )


@dataclass(frozen=True, kw_only=True)
class _Mixed:
    """All entries in one layout."""

    layout: RowLayout
    train: ConvertedRows
    eval: ConvertedRows | None
    notes: Sequence[str]
    dropped: Sequence[DroppedRecord]


def _convert(recipe: Recipe, train_parts: Sequence[EntryRows], eval_parts: Sequence[EntryRows]) -> _Mixed:
    """Bring all entries to one layout, which a row may decide that is only met on the way."""
    parts = [*train_parts, *eval_parts]
    while True:
        notes: list[str] = []
        mixed = [part.entry.in_mixture for part in parts]
        trained_in = layout_called(recipe.data.layout)
        layout = common_layout(mixed, notes) if trained_in is None else trained_layout(mixed, trained_in, notes)
        check_loss_settings(recipe.training, layout, mixed)
        answer = _answer_column(recipe.evaluate.exact_match, layout)
        dropped: list[DroppedRecord] = []
        count = len(train_parts)
        settings = MixSettings(
            layout=layout,
            assistant_only=answers_only(recipe.training),
            turns=turns_to_learn(recipe.training),
            notes=notes,
            dropped=dropped,
        )
        try:
            train = mix(parts[:count], settings, answer=None if eval_parts else answer)
            evaluation = mix(parts[count:], settings, answer=answer) if eval_parts else None
        except EntryNeedsPairs as need:
            parts = [part.as_pairs(need) if part.entry.where == need.where else part for part in parts]
            continue
        notes[:0] = [part.entry.taken for part in parts if part.entry.taken]
        notes += [note for part in parts if (note := _unread(part.entry, layout, answer))]
        return _Mixed(layout=layout, train=train, eval=evaluation, notes=notes, dropped=dropped)


def _unread(entry: Entry, layout: RowLayout, answer: str | None) -> str | None:
    """Return the sentence that names an entry's columns of which nothing is made."""
    columns = entry.unread_columns(layout, also_read=() if answer is None else (answer,))
    return unread_sentence(entry.where, columns)


def _answer_column(settings: ExactMatch | None, layout: RowLayout) -> str | None:
    """Return the column that holds the right answers; None if the rows' own completions do."""
    if settings is None:
        return None
    if layout is RowLayout.TEXT:
        raise UserError(
            "plain text asks nothing that could be answered", where="evaluate.exact_match", remedy="Leave it out."
        )
    return settings.answer or ("answer" if layout in PROMPT_LAYOUTS else None)


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


def _held_out_count(part: float | None, rows: int) -> int:
    """Return how many of the mixture's rows are kept for evaluation."""
    if part is None:
        return 0
    count = part if isinstance(part, int) else max(1, round(part * rows))
    if count >= rows:
        raise UserError(f"holding out {count} of {rows} rows leaves none to train on", where="data.eval.from_train")
    return count
