"""Inspect an entry of the data by its settings and first rows, before anything is trained."""

import itertools
import pathlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.errors import UserError
from runner.recipe.formats.detection import COLUMNS, FORMATS, detect_format
from runner.recipe.formats.entries import Entry, EntryFault, check_settings, check_templates, recognize_entry
from runner.recipe.formats.reading import Reading
from runner.recipe.formats.selection import row_filter
from runner.recipe.inputs.local_rows import LocalRow, can_read, rows_of, structs_of
from runner.recipe.inputs.references import BUILTIN_DATA, SAVED_TO_DISK, is_local
from runner.recipe.problems import Problem, RecipePath
from runner.recipe.recipe import DataSource, Format, Json, Method
from runner.recipe.rows.folders import files_of_split

FIRST_ROWS = 100
"""Rows of a file that a check reads."""
MOST_ROWS = 10_000
"""Rows that a check reads at most, if the first ones cannot be used or do not pass the filter."""

_LONE_FIELD = re.compile(r"\{[^{}?#^/]+\}")

_CONVERSATIONAL: Mapping[Format | None, bool] = {
    "messages": True,
    "sharegpt": True,
    "alpaca": True,
    "stanford_alpaca": False,
    "text": False,
}
"""Whether a format is conversational, if it decides that; prompts and completions may be either."""


@dataclass(frozen=True)
class SourceFacts:
    """What is known about one entry of a mixture before anything is downloaded."""

    path: RecipePath
    """The entry's path in the recipe: ``("data", "train", 0)``."""
    format: Format | None
    """Declared, or detected from the first row; None if there is no row on this machine."""
    conversational: bool | None
    """Whether its rows have turns with roles; None if only the rows would tell."""
    columns: tuple[str, ...] | None = None
    """The columns of its first row, with those that the template makes; None if there is no row on this machine."""
    entry: Entry | None = None
    """The entry, recognized by its rows; None if there is none on this machine."""
    rows: tuple[LocalRow, ...] = ()
    """Its first rows that pass the filter."""
    files: tuple[pathlib.Path, ...] = ()
    """The files on this machine that it reads; none if this machine cannot read them."""
    structs: frozenset[str] = frozenset()
    """The columns that are Arrow's structs."""
    whole: bool = False
    """Whether `rows` are all of its rows."""


def inspect_source(
    at: RecipePath,
    entry: Mapping[str, Json],
    method: Method,
    text_field: str,
    problems: list[Problem],
    *,
    first_row: Callable[[str], Mapping[str, Json] | None] | None = None,
    reading: Reading | None = None,
) -> SourceFacts:
    """Inspect one entry whose path is resolved.

    Args:
        at: the entry's path in the recipe.
        entry: its settings.
        method: decides which formats are possible.
        text_field: `training.dataset_text_field`.
        problems: new ones are appended.
        first_row: returns the first row of data that are not on this machine.
        reading: what decides where a format leaves it open.
    """
    source = DataSource(**entry)
    where = ".".join(map(str, at))
    keeps = row_filter(source.filter)
    try:
        check_settings(source, where, method)
        if first_row is None:
            files, rows, whole = local_rows(source)
        else:
            row = first_row(source.path)
            files, whole = None, False
            rows = [] if row is None else [LocalRow(file=pathlib.Path(source.path), number=1, row=row)]
        if not rows:
            check_templates(source, where, None)
            return _unread(at, source, method, reading or Reading())
        columns = list(dict.fromkeys(itertools.chain.from_iterable(row.row for row in rows)))
        recognized = recognize_entry(
            source,
            where,
            columns=columns,
            rows=[row.row for row in rows if keeps(row.row)] or [row.row for row in rows],
            text_field=text_field,
            method=method,
            reading=reading,
        )
    except EntryFault as fault:
        problems.append(Problem((*at, fault.key or "path"), _about_file(fault, source), fault.remedy))
        return SourceFacts(at, None, None)
    except UserError as error:
        what = error.what if error.where is None else f"{error.where}: {error.what}"
        key = "split" if "no split" in what else "path"
        problems.append(Problem((*at, key), what, error.remedy))
        return SourceFacts(at, None, None)
    return SourceFacts(
        at,
        recognized.format,
        recognized.layout.is_conversational,
        entry=recognized,
        rows=tuple(row for row in rows if keeps(row.row)),
        files=tuple(files or ()),
        structs=structs_of(files or []),
        whole=whole,
        columns=(*columns, *(name for name in recognized.source.template or () if name not in columns)),
    )


def _about_file(fault: EntryFault, source: DataSource) -> str:
    return fault.what if fault.key is not None or source.path in fault.what else f"{source.path}: {fault.what}"


def _unread(at: RecipePath, source: DataSource, method: Method, reading: Reading) -> SourceFacts:
    """Return what an entry's settings alone tell."""
    template = source.template or {}
    declared = source.format or detect_format(template, method)
    if source.think:
        return SourceFacts(at, "prompt_completion", True)
    if len(FORMATS[method]) == 1:
        declared = FORMATS[method][0]
    if declared == "alpaca" and not reading.alpaca_as_turns:
        declared = "stanford_alpaca"
    decisive = template.get(COLUMNS[declared][0]) if declared else None
    if decisive is None or (isinstance(decisive, str) and _LONE_FIELD.fullmatch(decisive)):
        # A field alone is taken as it is: turns stay turns, and only the rows would tell.
        conversational = _CONVERSATIONAL.get(declared)
    else:
        conversational = not isinstance(decisive, str)
    return SourceFacts(at, declared, conversational)


def local_rows(source: DataSource) -> tuple[list[pathlib.Path] | None, list[LocalRow], bool]:
    """Return an entry's files, its first rows, and whether these are all; no files: only the training side can read it.

    Raises:
        UserError: there are no rows, or they cannot be read.
    """
    if source.path.startswith("builtin:"):
        example = {column: f"a {column}" for column in BUILTIN_DATA[source.path.removeprefix("builtin:")]}
        return None, [LocalRow(file=pathlib.Path(source.path), number=1, row=example)], False
    files = local_files(source)
    if files is None:
        return None, [], False
    rows: list[LocalRow] = []
    keeps, fitting = row_filter(source.filter), 0
    for row in rows_of(files):
        rows.append(row)
        fitting += keeps(row.row)
        if len(rows) >= MOST_ROWS or (len(rows) >= FIRST_ROWS and fitting):
            return files, rows, False
    if all(row.file.suffix.lower() == ".txt" and not row.row["text"].strip() for row in rows):
        raise UserError("the dataset is empty: it holds no rows", where=source.path)
    return files, rows, True


def local_files(source: DataSource) -> list[pathlib.Path] | None:
    """Return the files of an entry that this machine can read; None if it can read none.

    Raises:
        UserError: a file is empty or damaged, or the folder has no such split.
    """
    if not is_local(source.path):
        return None
    path = pathlib.Path(source.path)
    if not path.is_dir():
        files: list[pathlib.Path] | None = [path]
    elif any((path / name).is_file() for name in SAVED_TO_DISK):
        return None
    else:
        try:
            files = files_of_split(path, source.split)
        except UserError as error:
            raise UserError(error.what, where=error.where or source.path, remedy=error.remedy) from error
    if files is None:
        return None
    for file in files:
        if file.stat().st_size == 0 and len(files) == 1:
            raise UserError("the file is empty", where=str(file))
    return files if can_read(files) else None
