"""One entry of a recipe's data section: its format, and its rows with the template filled in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Features, Json, List, Value

from runner.errors import UserError
from runner.recipe.inputs.row_formats import COLUMNS, FORMATS, describe_formats, detect_format
from runner.recipe.inputs.template import fill_template, template_fields
from runner.recipe.recipe import DataSource, Format, Method
from runner.train.data.formats import Row, RowLayout, natural_layout, row_converter
from runner.train.data.reasoning import from_conversation, from_fields

MESSAGES = List(Json())
"""Arrow type of a list of messages. JSON, since messages differ in their keys and Arrow would give each all keys."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a data section, read and recognized."""

    where: str
    """Its place in the recipe (``data.train.0``)."""
    dataset: Dataset
    """Its rows, as read, with the template filled in."""
    format: Format
    """Its format."""
    shape: RowLayout
    """The layout that its rows have on their own."""
    convert: Callable[[Mapping[str, Any]], Row] | None = None
    """Makes a row of `shape`; None for the conversion of the format."""


def recognize_entry(dataset: Dataset, source: DataSource, where: str, text_field: str, method: Method) -> Entry:
    """Fill in the template of an entry, find its format, and name its text column ``text``.

    Args:
        dataset: the rows, as read.
        source: the entry.
        where: its place in the recipe, for errors.
        text_field: the name of the column of plain text.
        method: the training method, which decides between formats.

    Raises:
        UserError: the columns fit no format, or not the one that the recipe names.
    """
    if isinstance(source.think, Mapping):
        _require_fields(dataset, source.think, f"{where}.think")
        convert = from_fields(source.think)
        return Entry(
            where=where, dataset=dataset, format="prompt_completion", shape=RowLayout.MESSAGE_PAIR, convert=convert
        )
    template = source.template or {}
    if template:
        dataset = _fill_template(dataset, template, where)
    if text_field != "text" and text_field in dataset.column_names:
        dataset = dataset.remove_columns([name for name in ("text",) if name in dataset.column_names])
        dataset = dataset.rename_column(text_field, "text")
    columns = dataset.column_names
    name = source.format or detect_format(template, method) or detect_format(dataset[0], method)
    if name is None:
        raise UserError(
            f"the columns of {source.path} are of no known format: {', '.join(columns)}",
            where=where,
            remedy=f"Rename them to those of a format ({describe_formats(method)}), or write a template.",
        )
    if name not in FORMATS[method]:
        raise UserError(
            f"{name} is not a format for {method}",
            where=f"{where}.format",
            remedy=f"Write {', '.join(FORMATS[method])}.",
        )
    missing = [column for column in COLUMNS[name] if column not in columns]
    if missing and not (name in ("messages", "sharegpt") and {"messages", "conversations"} & set(columns)):
        raise UserError(
            f"{source.path} has no column {', '.join(missing)}, which the format {name} needs",
            where=f"{where}.format",
            remedy=f"Its columns: {', '.join(columns)}.",
        )
    shape = natural_layout(name, dataset)
    if shape is RowLayout.PREFERENCE and "prompt" not in columns:
        raise UserError(
            f"{source.path} has no column prompt, which the format {name} needs",
            where=where,
            remedy=f'Write template: {{prompt: "{{question}}"}}, with the column that holds it: {", ".join(columns)}.',
        )
    if source.think:
        if shape is not RowLayout.CONVERSATION:
            raise UserError(
                f"{source.path} holds {shape.value}, which are not conversations",
                where=f"{where}.think",
                remedy='Write think: {prompt: "{question}", reasoning: "{solution}"}, with its columns.',
            )
        convert = from_conversation(row_converter(name, shape))
        return Entry(where=where, dataset=dataset, format=name, shape=RowLayout.MESSAGE_PAIR, convert=convert)
    return Entry(where=where, dataset=dataset, format=name, shape=shape)


def _fill_template(dataset: Dataset, template: Mapping[str, Any], where: str) -> Dataset:
    """Return the rows with the template's columns added, or replacing those of the same name."""
    _require_fields(dataset, template, f"{where}.template")
    made = {column: Value("string") if isinstance(part, str) else MESSAGES for column, part in template.items()}
    return dataset.map(
        lambda row: fill_template(template, row),
        features=Features({**dataset.features, **made}),
        load_from_cache_file=False,
        desc=f"Filling in the template of {where}",
    )


def _require_fields(dataset: Dataset, texts: Mapping[str, Any], where: str) -> None:
    missing = [name for name in template_fields(texts) if name not in dataset.column_names]
    if missing:
        raise UserError(
            f"there is no field {', '.join(missing)}",
            where=where,
            remedy=f"Its fields: {', '.join(dataset.column_names)}.",
        )
