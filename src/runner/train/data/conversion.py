"""Convert the rows of entries to one layout, as columns of Arrow, and put them together."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from datasets import Dataset, Features, Value, concatenate_datasets

from runner.errors import UserError
from runner.recipe.formats.columns import UnreadMeaning
from runner.recipe.formats.dropped import DroppedRows
from runner.recipe.formats.entries import EntryNeedsPairs, prepare
from runner.recipe.formats.layouts import NeedsPairs, Row, RowLayout, UnusableRow
from runner.recipe.rows.numbers import written_text
from runner.runs.record_types.result import DroppedRecord
from runner.train.data.entries import EntryRows
from runner.train.data.json_cell import JsonCell, encode_column, register_json_cell
from runner.train.data.origins import Origins
from runner.train.evaluation.exact_match import ANSWER

MESSAGES = JsonCell()
"""The type of a list of messages, which differ in their keys: Arrow would give each the keys of all."""

_FEATURES: Mapping[RowLayout, Mapping[str, Any]] = {
    RowLayout.CONVERSATION: {"messages": MESSAGES, "tools": JsonCell()},
    RowLayout.MESSAGE_PAIR: {"prompt": MESSAGES, "completion": MESSAGES, "tools": JsonCell()},
    RowLayout.PAIR: {"prompt": Value("string"), "completion": Value("string")},
    RowLayout.TEXT: {"text": Value("string")},
    RowLayout.PREFERENCE: {"prompt": Value("string"), "chosen": Value("string"), "rejected": Value("string")},
    RowLayout.PREFERENCE_MESSAGES: {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "tools": JsonCell()},
    RowLayout.PROMPT: {"prompt": Value("string")},
    RowLayout.PROMPT_MESSAGES: {"prompt": MESSAGES},
}
PROMPT_LAYOUTS = (RowLayout.PROMPT, RowLayout.PROMPT_MESSAGES)
"""The layouts whose other columns reward functions are given."""


@dataclass(frozen=True, kw_only=True)
class ConvertedRows:
    """Rows in one layout, and where they come from."""

    rows: Dataset
    """The rows."""
    origins: Origins
    """Where each comes from."""


@dataclass(frozen=True, kw_only=True)
class MixSettings:
    """How entries are mixed, and what is said of them."""

    layout: RowLayout
    """The layout of the result."""
    assistant_only: bool
    """Whether the loss is on the assistant's turns alone."""
    turns: str = "all"
    """Which of them are learned: all, the last, or those that are marked."""
    notes: list[str]
    """Gets a sentence on dropped rows."""
    dropped: list[DroppedRecord]
    """Gets a record on them."""


def mix(parts: Sequence[EntryRows], settings: MixSettings, *, answer: str | None) -> ConvertedRows:
    """Return the usable rows of all entries, one entry after the other, in one layout.

    Args:
        parts: the entries to mix.
        settings: how.
        answer: the column to keep as `ANSWER` beside those of the layout; None if there is none.

    Raises:
        UserError: no row of an entry can be used, or a column is missing.
        EntryNeedsPairs: the layout cannot hold a row.
    """
    layout = settings.layout
    register_json_cell()
    features = dict(_FEATURES[layout])
    columns = {column for part in parts for column in part.entry.columns}
    if layout in PROMPT_LAYOUTS:
        features = {**_columns_for_rewards(parts), **features}
    elif layout.is_conversational and "chat_template_kwargs" in columns:
        features["chat_template_kwargs"] = JsonCell()
    if "tools" not in columns:
        features.pop("tools", None)
    for part in parts if answer is not None else ():
        if answer not in part.entry.columns:
            raise UserError(
                f"there is no column {answer}",
                where=f"evaluate.exact_match.answer, {part.entry.where}",
                remedy=f"Its columns: {', '.join(part.entry.columns)}.",
            )
    if answer is not None:
        features[ANSWER] = Value("string")
    converted = []
    of_entry, index = array("L"), array("L")
    for number, part in enumerate(parts):
        places = array("L")
        converted.append(_convert(part, settings, Features(features), places, answer))
        of_entry.extend(number for _ in places)
        index.extend(places)
    origins = Origins([(part.entry.where, part.numbers) for part in parts], of_entry, index)
    return ConvertedRows(rows=concatenate_datasets(converted), origins=origins)


def _columns_for_rewards(parts: Sequence[EntryRows]) -> Mapping[str, Any]:
    """Return the columns beside the prompts, which reward functions get: all rows must have the same."""
    first = parts[0]
    for part in parts[1:]:
        if set(part.entry.columns) != set(first.entry.columns):
            raise UserError(
                f"{first.entry.where} and {part.entry.where} differ in their columns, which reward functions are given",
                where="data",
                remedy="Write a template for each that makes the same columns.",
            )
    template = first.entry.source.template or {}
    made = {column: Value("string") if isinstance(text, str) else MESSAGES for column, text in template.items()}
    columns = dict(first.dataset.features)
    for part in parts[1:]:
        for column, feature in part.dataset.features.items():
            if feature != columns.get(column, feature):
                columns[column] = JsonCell()  # each row keeps the type that it has in its source
    return {**columns, **made}


def _convert(
    part: EntryRows, settings: MixSettings, features: Features, places: "array[int]", answer: str | None
) -> Dataset:
    """Convert the rows of one entry; `places` gets the place of each among the entry's selected rows."""
    entry = part.entry
    convert = entry.converter(
        settings.layout, assistant_only=settings.assistant_only, turns=settings.turns, structs=part.structs
    )
    unusable = DroppedRows(entry.where)

    def convert_row(row: Mapping[str, Any], index: int) -> list[Row]:
        try:
            made = convert(row)
            if answer is not None:
                right = prepare(row, entry.source.template, entry.text_field)[answer]
                made = [{**one, ANSWER: None if right is None else written_text(right)} for one in made]
            return made
        except UnusableRow as fault:
            unusable.add(str(fault), index)
            return []
        except NeedsPairs as need:
            raise EntryNeedsPairs(entry.where, need) from need
        except UnreadMeaning as unread:
            word, number = part.numbers.place(index)
            what = f"{part.numbers.path}, {word} {number}: {unread}"
            raise UserError(what, where=entry.where, remedy=unread.remedy) from unread

    def convert_batch(batch: Mapping[str, list[Any]], indices: Sequence[int]) -> dict[str, list[Any]]:
        rows: list[Row] = []
        for index, values in zip(indices, zip(*batch.values(), strict=True), strict=True):
            made = convert_row(dict(zip(batch, values, strict=True)), index)
            rows += made
            places.extend(index for _ in made)
        columns = {column: [row.get(column, _ABSENT.get(column)) for row in rows] for column in features}
        return {column: encode_column(features[column], values) for column, values in columns.items()}

    dataset = part.dataset.map(
        convert_batch,
        batched=True,
        with_indices=True,
        remove_columns=part.dataset.column_names,
        features=features,
        load_from_cache_file=False,
        desc=f"Reading {entry.where}",
    )
    if unusable.total:
        name_first(unusable, part)
        if len(dataset) == 0:
            raise UserError(f"no row can be used as {entry.format}: {unusable.reasons()}", where=entry.where)
        settings.notes.append(unusable.sentence(len(part.dataset)))
        settings.dropped.extend(cast(list[DroppedRecord], unusable.records(len(part.dataset))))
    return dataset


_ABSENT: Mapping[str, Any] = {"chat_template_kwargs": {}}
"""What TRL takes of a row that does not have a column which others have."""


def name_first(dropped: DroppedRows, part: EntryRows) -> None:
    """Replace places among the selected rows by the numbers that the source's rows have."""
    for reason, index in dropped.first.items():
        dropped.word, dropped.first[reason] = part.numbers.place(index)
