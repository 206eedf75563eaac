"""Read the first row of a local data file, and no more, and detect its format."""

import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from runner.errors import UserError
from runner.recipe.recipe import Format, Method

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

_CHUNK = 1 << 16
_MAX_ROW = 1 << 24


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
            case ".csv":
                return _csv(path, where)
            case ".txt":
                return _text(path, where)
            case _:
                return _json(path, where)
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror or error}", where=where) from error
    except UnicodeDecodeError as error:
        raise UserError("the file is not UTF-8 text", where=where, remedy="save it as UTF-8") from error


def _turns_have(value: Any, key: str) -> bool:
    """Whether a conversation's first turn has `key`; CSV files hold conversations as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and key in value[0]


def _json(path: pathlib.Path, where: str) -> dict[str, Any]:
    """Return the first object of JSON Lines or of an array, whatever the file's ending, as `datasets` does."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig") as file:
        text = ""
        while chunk := file.read(_CHUNK):
            text = (text + chunk).lstrip()
            if text.startswith("["):
                text = text[1:].lstrip()
                break
            if text:
                break
        else:
            raise UserError("the dataset is empty: it holds no rows", where=where)
        while True:
            if text.startswith("]"):
                raise UserError("the dataset is empty: `[]` holds no rows", where=where)
            try:
                row, _ = decoder.raw_decode(text)
                break
            except (ValueError, RecursionError) as error:
                chunk = file.read(max(_CHUNK, len(text)))
                if not chunk or len(text) > _MAX_ROW or _is_broken_line(path, text):
                    raise UserError(f"the first row is not JSON: {error}", where=where) from error
                text = (text + chunk).lstrip()
    if not isinstance(row, dict):
        raise UserError(
            "the first row is not an object", where=where, remedy='a row reads `{"prompt": "…", "completion": "…"}`'
        )
    return row


def _is_broken_line(path: pathlib.Path, text: str) -> bool:
    """Whether a row of JSON Lines ended before it was complete, so that reading more cannot help."""
    return path.suffix.lower() == ".jsonl" and "\n" in text


def _csv(path: pathlib.Path, where: str) -> dict[str, Any]:
    import csv  # not above: most recipes have no CSV file

    csv.field_size_limit(_MAX_ROW)  # 128 KiB otherwise, which a long document exceeds
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = csv.reader(itertools.islice(file, 10_000))
            header = next((row for row in rows if row), None)
            first = next((row for row in rows if row), None)
        except csv.Error as error:
            raise UserError(f"the first row is not CSV: {error}", where=where) from error
    if header is None or first is None:
        raise UserError("the dataset is empty: it holds no rows", where=where, remedy="write rows below the header")
    if len(first) > len(header):
        raise UserError(f"the first row has {len(first)} columns, and the header {len(header)}", where=where)
    return dict(itertools.zip_longest(header, first))


def _text(path: pathlib.Path, where: str) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                return {"text": line.rstrip("\n")}
    raise UserError("the dataset is empty: the file holds blank lines only", where=where)


def _check_parquet(path: pathlib.Path, where: str) -> None:
    """Check the magic bytes at both ends; the training side reads the rows."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, 2)
        whole = path.stat().st_size >= 12 and head == b"PAR1" == file.read(4)
    if not whole:
        raise UserError("the file is not a complete Parquet file", where=where)
