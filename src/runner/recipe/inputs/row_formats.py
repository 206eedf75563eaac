"""Detect the format of a local data file by its first row."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from runner.errors import UserError
from runner.recipe.recipe import Format, Method
from runner.recipe.rows.read import read_rows

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
"""Endings of the files that runner reads data from."""

COLUMNS: Mapping[Format, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "text": ("text",),
    "preference": ("chosen", "rejected"),
    "prompt_only": ("prompt",),
}
"""The columns that each format requires."""

FORMATS: Mapping[Method, tuple[Format, ...]] = {
    "sft": ("messages", "prompt_completion", "sharegpt", "alpaca", "text"),
    "cpt": ("text",),
    "dpo": ("preference",),
    "grpo": ("prompt_only",),
}
"""The formats that each method trains on, in the order of detection."""

OF_TURNS: tuple[Format, ...] = ("messages", "sharegpt")
"""The formats with conversations."""


def detect_format(row: Mapping[str, Any], method: Method = "sft") -> Format | None:
    """Return the first format of a method whose columns a row has, richer formats first; None if there is none."""
    if "messages" in FORMATS[method]:
        if "messages" in row:
            return "sharegpt" if _turns_have(row["messages"], "from") else "messages"
        if "conversations" in row:
            return "messages" if _turns_have(row["conversations"], "role") else "sharegpt"
    for name in FORMATS[method]:
        if all(column in row for column in COLUMNS[name]):
            return name
    return None


def describe_formats(method: Method) -> str:
    """List the formats of a method with their columns, for errors."""
    return "; ".join(f"{name}: {', '.join(COLUMNS[name])}" for name in FORMATS[method])


def check_row(
    row: Mapping[str, Any], declared: Format | None, text_field: str, where: str, method: Method = "sft"
) -> tuple[Format, bool]:
    """Return a row's format, and whether it is conversational (has turns with roles).

    Args:
        row: the first row of the data.
        declared: the recipe's `format`; None to detect it.
        text_field: `training.dataset_text_field`, the column that counts as ``text``.
        where: the file, for errors.
        method: decides which formats are possible.

    Raises:
        UserError: a column is missing, or has the wrong type for the format.
    """
    columns = ", ".join(map(str, row)) or "none"
    row = {("text" if column == text_field else column): value for column, value in row.items()}
    detected = detect_format(row, method)
    row_format = declared or detected
    if row_format is None:
        raise UserError(
            f"the columns fit no format: {columns}",
            where=where,
            remedy=f"rename them to fit one ({describe_formats(method)}), or write a `template:`",
        )
    missing = [column for column in COLUMNS[row_format] if column not in row]
    if missing and not (row_format in OF_TURNS and detected in OF_TURNS):
        needed = " and ".join(f"`{column}`" for column in missing)
        raise UserError(
            f"format `{row_format}` needs {needed}; the columns are: {columns}",
            where=where,
            remedy=f"write `format: {detected}`, which they fit" if detected else "rename the columns",
        )
    if row_format in OF_TURNS:
        column = "messages" if "messages" in row else "conversations"
        if not (_turns_have(row[column], "role") or _turns_have(row[column], "from")):
            raise UserError(
                f"`{column}` in the first row is not a list of turns",
                where=where,
                remedy="a turn has `role` and `content`, or `from` and `value`",
            )
        return row_format, True
    for column in COLUMNS[row_format]:
        if not (isinstance(row[column], str) or row[column] is None or _turns_have(row[column], "role")):
            raise UserError(f"`{column}` in the first row is not text: {json.dumps(row[column])[:80]}", where=where)
    if row_format == "preference" and isinstance(row["chosen"], str) and "prompt" not in row:
        raise UserError(
            f"format `preference` needs `prompt`; the columns are: {columns}",
            where=where,
            remedy='write `template: {prompt: "{question}"}`, with the column that holds it',
        )
    return row_format, row_format not in ("alpaca", "text") and not isinstance(row[COLUMNS[row_format][0]], str)


def first_row(path: pathlib.Path, where: str) -> dict[str, Any] | None:
    """Return the first row of a file; None for Parquet, which is only checked to be complete.

    Raises:
        UserError: the file is empty, has no rows, or its first row cannot be read.
    """
    try:
        if path.stat().st_size == 0:
            raise UserError("the file is empty", where=where)
        match path.suffix.lower():
            case ".parquet":
                _check_parquet(path, where)
                return None
            case ".txt":
                rows = (row for _, row in read_rows(path, where=where) if row["text"].strip())
            case _:
                rows = (row for _, row in read_rows(path, where=where))
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror or error}", where=where) from error
    row = next(rows, None)
    if row is None:
        raise UserError("the dataset is empty: it holds no rows", where=where)
    return row


def _turns_have(value: Any, key: str) -> bool:
    """Whether a conversation's first turn has `key`; CSV files hold conversations as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and key in value[0]


def _check_parquet(path: pathlib.Path, where: str) -> None:
    """Check the magic bytes at both ends; the training side reads the rows."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, 2)
        whole = path.stat().st_size >= 12 and head == b"PAR1" == file.read(4)
    if not whole:
        raise UserError("the file is not a complete Parquet file", where=where)
