"""Write the rows of data files into Arrow files, in bounded memory.

A column is text, or JSON where it holds anything else (see `runner.recipe.rows.columns`). Which of the two may only be
known at the end of the data, so a new file begins when a column appears or turns to JSON, and the files before are
written once more when all have been read.
"""

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow

from runner.recipe.rows.columns import Column, json_text

_JSON = {"cell": "json"}
"""The metadata of a column of JSON."""


class ArrowColumn(NamedTuple):
    """A `Column` whose cells are in Arrow."""

    is_json: bool
    cells: pyarrow.Array
    """Strings."""


def write_arrow_files(batches: Iterable[Mapping[str, Column | ArrowColumn]], folder: Path) -> list[Path]:
    """Write rows into as many files as there are sets of columns in them, and return the files; none without rows.

    Args:
        batches: the rows by column.
        folder: where the files are written; it exists.

    Raises:
        OSError: they cannot be written.
    """
    kinds: dict[str, bool] = {}
    paths: list[Path] = []
    with contextlib.ExitStack() as stack:
        writer: Any = None
        for batch in batches:
            if not batch:
                continue
            after = {**kinds, **{name: column.is_json or kinds.get(name, False) for name, column in batch.items()}}
            if writer is None or after != kinds:
                kinds = after
                stack.close()
                paths.append(_new_path(folder))
                writer = stack.enter_context(pyarrow.ipc.new_stream(str(paths[-1]), _schema(kinds)))
            rows = len(next(iter(batch.values())).cells)
            arrays = [_array(batch.get(name), is_json, rows) for name, is_json in kinds.items()]
            writer.write_batch(pyarrow.record_batch(arrays, schema=_schema(kinds)))
    return paths


def unify_arrow_files(paths: Iterable[Path]) -> tuple[list[Path], dict[str, bool]]:
    """Bring files of `write_arrow_files` to the same columns; return them, and whether each column is JSON.

    A file that differs from the rest is replaced by another one.

    Raises:
        OSError: a file cannot be read or written.
    """
    paths = list(paths)
    kinds: dict[str, bool] = {}
    for path in paths:
        for name, is_json in _kinds(path).items():
            kinds[name] = kinds.get(name, False) or is_json
    return [
        path if list(_kinds(path).items()) == list(kinds.items()) else _rewrite(path, kinds) for path in paths
    ], kinds


def _rewrite(path: Path, kinds: Mapping[str, bool]) -> Path:
    before, after = _kinds(path), _new_path(path.parent)
    with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as reader:  # noqa: SIM117
        with pyarrow.ipc.new_stream(str(after), _schema(kinds)) as writer:
            for batch in reader:
                arrays = []
                for name, is_json in kinds.items():
                    array = batch[name] if name in before else pyarrow.nulls(len(batch), pyarrow.string())
                    if is_json and not before.get(name, True) and array.null_count < len(array):
                        array = _array(Column(False, array.to_pylist()), is_json, len(batch))
                    arrays.append(array)
                writer.write_batch(pyarrow.record_batch(arrays, schema=_schema(kinds)))
    path.unlink()
    return after


def _array(column: Column | ArrowColumn | None, is_json: bool, rows: int) -> pyarrow.Array:
    if column is None:
        return pyarrow.nulls(rows, pyarrow.string())
    to_json = is_json and not column.is_json
    if isinstance(column, ArrowColumn):
        if not to_json:
            return column.cells
        column = Column(False, column.cells.to_pylist())
    cells = column.cells
    if to_json:
        cells = [None if cell is None else json_text(cell) for cell in cells]
    return pyarrow.array(cells, pyarrow.string())


def _schema(kinds: Mapping[str, bool]) -> pyarrow.Schema:
    return pyarrow.schema(
        [pyarrow.field(name, pyarrow.string(), metadata=_JSON if is_json else None) for name, is_json in kinds.items()]
    )


def _kinds(path: Path) -> dict[str, bool]:
    with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as reader:
        return {field.name: bool(field.metadata) for field in reader.schema}


def _new_path(folder: Path) -> Path:
    return folder / f"rows-{uuid.uuid4().hex}.arrow"
