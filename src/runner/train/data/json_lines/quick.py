"""Read JSON Lines as `runner.recipe.rows.read.read_columns` does, several times as quickly.

pyarrow parses a block of lines, with an explicit type for each column of text so that none is guessed. Cells that are
not text are not taken from it: they are cut out of their lines as they are written, see `slices`. A block where this
could differ from the exact reader in anything is read by the exact one.

pyarrow's parser crashes on some broken files (a bare ``null`` between two objects), so this belongs in a process whose
end can be survived.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.json

from runner.errors import UserError
from runner.recipe.rows.json_cells import read_json_cells
from runner.recipe.rows.text import Span
from runner.train.data.arrow_files import ArrowColumn
from runner.train.data.json_lines.slices import NotSure, json_columns

BLOCK_BYTES = 1 << 20
"""Bytes that are parsed at a time, and then the rest of the line."""
_LONGEST_LINE = 64 << 20
"""Bytes; a file with longer lines is left to the exact reader."""
_MOST_MISSES = 8
"""After so many blocks in a row that had to be read exactly, the others are as well."""


def read_quickly(path: Path, span: Span, *, block_bytes: int = BLOCK_BYTES) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a part of a file in batches, by column, each a `Column` or an `ArrowColumn`.

    Args:
        path: a file of JSON Lines, not an array.
        span: the part, which begins and ends with a line.
        block_bytes: about so many bytes are parsed at a time.

    Raises:
        UserError: a row is broken; in which line, reading the whole file exactly tells.
        OSError: the file cannot be read.
    """
    known: set[str] = set()
    texts: set[str] = set()
    misses = 0
    for block, data in _blocks(path, span, block_bytes):
        columns: Mapping[str, ArrowColumn] | None = None
        if misses < _MOST_MISSES:
            try:
                columns = _columns(data, known, texts)
            except (NotSure, pyarrow.ArrowException, ValueError, RecursionError):
                texts.clear()
            misses = 0 if columns is not None else misses + 1
        if columns is not None:
            known.update(columns)
            yield columns
            continue
        if data.lstrip().startswith(b"["):
            raise UserError("a line is not an object", where=path.name)  # by itself, the block would be an array
        for batch in read_json_cells(path, path.name, only_lines=True, span=block):
            if not batch:
                raise UserError("rows without any column", where=path.name)  # that many count is for the exact reader
            known.update(batch)
            yield batch


def _blocks(path: Path, span: Span, block_bytes: int) -> Iterator[tuple[Span, bytes]]:
    with path.open("rb") as file:
        start = span.start
        file.seek(start)
        while start < span.end:
            data = file.read(min(block_bytes, span.end - start))
            if not data.endswith(b"\n"):
                data += file.readline(min(_LONGEST_LINE, span.end - start - len(data)))
            end = start + len(data)
            if not data or (end < span.end and not data.endswith(b"\n")):
                raise UserError("a line is very long, or the file has changed", where=path.name)
            yield Span(start, end), data
            start = end


def _columns(data: bytes, known: set[str], texts: set[str]) -> Mapping[str, ArrowColumn]:
    """Return the columns of some lines.

    Args:
        data: whole lines.
        known: columns that there were before. A new one has to be in the first row, since columns keep their order.
        texts: columns that are text; those that are found are added.

    Raises:
        NotSure: the exact reader may see it otherwise.
        pyarrow.ArrowException: the lines are not JSON, or a column has values of several types.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    data = data.removesuffix(b"\n")
    if not (data.startswith(b'{"') and data.endswith(b"}")) or b"\r" in data or b"\0" in data:
        raise NotSure
    # In valid JSON, a line's end between `}` and `{` is between two rows. With as many rows, each row is a line.
    signs = numpy.frombuffer(data, numpy.uint8)
    ends = numpy.flatnonzero(signs == ord("\n"))
    if not ((signs[ends - 1] == ord("}")).all() and (signs[ends + 1] == ord("{")).all()):
        raise NotSure
    _check_utf8(data)
    table = _parse(data, texts)
    if table.num_rows != len(ends) + 1:
        raise NotSure
    json = [field for field in table.schema if field.name not in texts and not pyarrow.types.is_null(field.type)]
    first, sliced = json_columns(data, len(table), table.column_names, json)
    # A column without any text in this block may be missing in each of its rows.
    found = {*table.column_names} - {name for name in texts if table[name].null_count == len(table)}
    if not found <= known.union(first):
        raise NotSure
    columns = {}
    for name in dict.fromkeys([*first, *table.column_names]):
        if name in sliced:
            columns[name] = ArrowColumn(True, sliced[name])
        elif name in first or name in found:
            cells = _one_chunk(table[name]) if name in texts else pyarrow.nulls(len(table), pyarrow.string())
            columns[name] = ArrowColumn(False, cells)
    return columns


def _parse(data: bytes, texts: set[str]) -> pyarrow.Table:
    """Parse lines; a column in which text is met is added to `texts`, and pyarrow guesses no type for it."""
    while True:
        table = pyarrow.json.read_json(
            pyarrow.BufferReader(data),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pyarrow.schema([(name, pyarrow.string()) for name in sorted(texts)]),
                newlines_in_values=False,
                unexpected_field_behavior="infer",
            ),
        )
        more = {field.name for field in table.schema if _is_text(field.type)} - texts
        if not more:
            return table
        texts |= more


def _one_chunk(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    return column.chunk(0) if column.num_chunks == 1 else pyarrow.concat_arrays(column.chunks)


def _is_text(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_temporal(kind))  # a text that looks like a time


def _check_utf8(data: bytes) -> None:
    ends = pyarrow.array([0, len(data)], pyarrow.int32()).buffers()[1]
    pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, ends, pyarrow.py_buffer(data)]).validate(full=True)
