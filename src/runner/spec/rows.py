"""The first row of a local data file, and the format it has: read cheaply, and nothing beyond it."""

import csv
import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any, get_args

from runner.spec.errors import UserError
from runner.spec.recipe import Format

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
"""The files that can be trained on."""

COLUMNS: Mapping[Format, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "text": ("text",),
}
"""The columns that a format needs, in the order in which formats are recognized."""

_CHUNK = 1 << 16
_MAX_ROW = 1 << 24


def recognized(columns: Mapping[str, Any], text_field: str = "text") -> Format | None:
    """The format of rows with these columns; None where no format has them."""
    for name, needed in COLUMNS.items():
        if all(column in columns for column in _named(needed, text_field)):
            return name
    return None


def check_row(row: Mapping[str, Any], declared: Format | None, text_field: str, where: str) -> Format:
    """The format of a row, declared or recognized.

    Raises:
        UserError: the row lacks a column, or what stands in it is none of the format's.
    """
    found = declared or recognized(row, text_field)
    columns = ", ".join(map(str, row)) or "none"
    if found is None:
        known = "; ".join(f"{name}: {', '.join(COLUMNS[name])}" for name in get_args(Format))
        raise UserError(
            f"the columns fit no format: {columns}", where=where, remedy=f"rename them to fit one ({known})"
        )
    missing = [column for column in _named(COLUMNS[found], text_field) if column not in row]
    if missing:
        fitting = recognized(row, text_field)
        raise UserError(
            f"format `{found}` needs {' and '.join(f'`{column}`' for column in missing)}; the columns are: {columns}",
            where=where,
            remedy=f"write `format: {fitting}`, which they fit"
            if fitting
            else "rename the columns, or write another format",
        )
    for column in _named(COLUMNS[found], text_field):
        _check_value(row[column], found, column, where)
    return found


def conversational(row: Mapping[str, Any], row_format: Format) -> bool:
    """Whether a row is a conversation, whose turns have roles."""
    return row_format in ("messages", "sharegpt") or (
        row_format == "prompt_completion" and isinstance(row["prompt"], list)
    )


def first_row(path: pathlib.Path, where: str) -> dict[str, Any] | None:
    """The first row of a file; None for Parquet, which is only seen to be whole.

    Raises:
        UserError: the file is empty, holds no rows, or its first row cannot be read.
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
        raise UserError("the file is no UTF-8 text", where=where, remedy="save it as UTF-8") from error


def _named(columns: tuple[str, ...], text_field: str) -> tuple[str, ...]:
    return (text_field,) if columns == COLUMNS["text"] else columns


def _check_value(value: Any, row_format: Format, column: str, where: str) -> None:
    if row_format in ("messages", "sharegpt") or isinstance(value, list):
        keys = ("from", "value") if row_format == "sharegpt" else ("role", "content")
        turns = value if isinstance(value, list) else []
        if not turns or not all(isinstance(turn, dict) and all(key in turn for key in keys) for turn in turns):
            raise UserError(
                f"`{column}` in the first row is no list of turns with `{keys[0]}` and `{keys[1]}`",
                where=where,
                remedy="the turns of a csv file cannot be read: use jsonl" if isinstance(value, str) else None,
            )
    elif not isinstance(value, str):
        raise UserError(f"`{column}` in the first row is no text: {json.dumps(value)[:80]}", where=where)


def _json(path: pathlib.Path, where: str) -> dict[str, Any]:
    """The first object of JSON Lines, or of one array: both are read whatever the file's ending, as `datasets` does."""
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
                    raise UserError(f"the first row is no JSON: {error}", where=where) from error
                text = (text + chunk).lstrip()
    if not isinstance(row, dict):
        raise UserError(
            "the first row is no object", where=where, remedy='a row reads `{"prompt": "…", "completion": "…"}`'
        )
    return row


def _is_broken_line(path: pathlib.Path, text: str) -> bool:
    """Whether a row of JSON Lines ended without being whole, so that reading on cannot help."""
    return path.suffix.lower() == ".jsonl" and "\n" in text


def _csv(path: pathlib.Path, where: str) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = csv.reader(itertools.islice(file, 10_000))
            header = next((row for row in rows if row), None)
            first = next((row for row in rows if row), None)
        except csv.Error as error:
            raise UserError(f"the first row is no CSV: {error}", where=where) from error
    if header is None or first is None:
        raise UserError("the dataset is empty: it holds no rows", where=where, remedy="write rows below the header")
    if len(first) != len(header):
        raise UserError(f"the first row has {len(first)} columns, and the header {len(header)}", where=where)
    return dict(zip(header, first, strict=True))


def _text(path: pathlib.Path, where: str) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                return {"text": line.rstrip("\n")}
    raise UserError("the dataset is empty: the file holds blank lines only", where=where)


def _check_parquet(path: pathlib.Path, where: str) -> None:
    """Parquet begins and ends with four letters; its rows are read where it is trained on."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, 2)
        whole = path.stat().st_size >= 12 and head == b"PAR1" == file.read(4)
    if not whole:
        raise UserError("the file is no whole Parquet file", where=where)
