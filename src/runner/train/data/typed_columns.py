"""Columns whose types are not JSON's: dates and times become text, as the file that they come from would show them."""

import datetime
from typing import Any

import pyarrow
from datasets import Dataset, Value

_GUESSED = {
    "csv": "text that looks like a number, a date, true or false, and empty or `NA` cells",
    "json": "text that looks like a date",
}
"""What `datasets` takes for something else than text where it reads a file itself."""


def name_guesses(dataset: Dataset, where: str, notes: list[str]) -> None:
    """Add a sentence on the columns whose types `datasets` guessed from text, if there are any.

    Args:
        dataset: as `load_dataset` returned it.
        where: the entry's place in the recipe.
        notes: gets the sentence.
    """
    kind = dataset.info.builder_name or ""
    if kind not in _GUESSED:
        return
    guessed = [
        f"{name} ({feature.dtype})"
        for name, feature in dataset.features.items()
        if isinstance(feature, Value)
        and feature.dtype not in ("string", "large_string")
        and (kind == "csv" or feature.dtype.startswith(("timestamp", "date", "time")))
    ]
    if kind == "csv":
        # Text too: `NA` and `None` are no text to pandas, which `datasets` reads with.
        nulls = {name: dataset.data.column(name).null_count for name in dataset.column_names}
        guessed += [
            f"{name} ({nulls[name]} cells taken for missing)"
            for name, feature in dataset.features.items()
            if isinstance(feature, Value) and feature.dtype in ("string", "large_string") and nulls[name]
        ]
    if guessed:
        notes.append(
            f"{where}: the types of {', '.join(guessed)} were guessed by `datasets`, which takes {_GUESSED[kind]} for "
            "other things than text. Where the very text matters, download the file and name it as the path."
        )


def times_as_text(dataset: Dataset, where: str, notes: list[str]) -> Dataset:
    """Return the rows with dates, times and decimals as text: ``2024-03-04``, ``2024-03-04T12:30:00``, ``1.50``.

    A column of timestamps that are all at midnight, without a time zone, holds dates; `notes` gets a sentence on it.
    """
    columns = dataset.column_names
    schema = dataset.data.schema
    for name in columns:
        kind = schema.field(name).type
        if not (pyarrow.types.is_temporal(kind) or pyarrow.types.is_decimal(kind)):
            continue
        values = [value for batch in dataset.with_format("arrow").iter(10_000) for value in _values(batch[name])]
        if pyarrow.types.is_timestamp(kind):
            times = [value for value in values if value is not None]
            if times and all(value.tzinfo is None and value.time() == datetime.time() for value in times):
                values = [None if value is None else value.date() for value in values]
                notes.append(f"{where}: {name} holds timestamps that are all at midnight; they are taken as dates.")
        texts = pyarrow.array([None if value is None else _text(value) for value in values], pyarrow.string())
        dataset = dataset.remove_columns(name).add_column(name, texts, feature=Value("string"))
    return dataset if dataset.column_names == columns else dataset.select_columns(columns)


def _values(column: Any) -> list[Any]:
    kind = column.type
    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":  # Python's have no nanoseconds
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    return list(column.to_pylist())


def _text(value: Any) -> str:
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat()) if isoformat is not None else str(value)
