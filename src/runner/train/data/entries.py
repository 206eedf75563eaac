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

_MESSAGES = List(Json())  # JSON, since messages differ in their keys and Arrow would give each the keys of all


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A source that has been read and recognized."""

    where: str
    dataset: Dataset
    format: Format
    shape: RowLayout
    convert: Callable[[Mapping[str, Any]], Row] | None = None
    """Makes a row of `shape`, where the format's own way is not what is asked for."""


def _recognized(dataset: Dataset, source: DataSource, where: str, text_field: str, method: Method) -> _Entry:
    """The entry with its template filled in, its format, given or recognized, and its text under the name ``text``."""
    if isinstance(source.think, Mapping):
        _require_fields(dataset, source.think, f"{where}.think")
        convert = from_fields(source.think)
        return _Entry(
            where=where, dataset=dataset, format="prompt_completion", shape=RowLayout.MESSAGE_PAIR, convert=convert
        )
    template = source.template or {}
    if template:
        dataset = _filled(dataset, template, where)
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
            f"{name} is no format for {method}", where=f"{where}.format", remedy=f"Write {', '.join(FORMATS[method])}."
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
                f"{source.path} holds {shape.value}, which are no conversations",
                where=f"{where}.think",
                remedy='Write think: {prompt: "{question}", reasoning: "{solution}"}, with its columns.',
            )
        convert = from_conversation(row_converter(name, shape))
        return _Entry(where=where, dataset=dataset, format=name, shape=RowLayout.MESSAGE_PAIR, convert=convert)
    return _Entry(where=where, dataset=dataset, format=name, shape=shape)


def _filled(dataset: Dataset, template: Mapping[str, Any], where: str) -> Dataset:
    """The rows with the template's columns added to them, in the place of those of the same name."""
    _require_fields(dataset, template, f"{where}.template")
    made = {column: Value("string") if isinstance(part, str) else _MESSAGES for column, part in template.items()}
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
