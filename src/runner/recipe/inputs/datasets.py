"""Inspect an entry of the data by its settings and its first row, before anything is trained."""

import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.errors import UserError
from runner.recipe.inputs import row_formats
from runner.recipe.inputs.references import BUILTIN_DATA, SAVED_TO_DISK, first_data_file, is_local
from runner.recipe.inputs.template import fill_template, template_fields
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Format, Json, Method

Row = Mapping[str, Json]

_CONVERSATIONAL: Mapping[Format | None, bool] = {"messages": True, "sharegpt": True, "alpaca": False, "text": False}
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


def inspect_source(
    at: RecipePath,
    entry: Mapping[str, Json],
    method: Method,
    text_field: str,
    problems: list[Problem],
    *,
    first_row: Callable[[str], Row | None] | None = None,
) -> SourceFacts:
    """Inspect one entry whose path is resolved.

    Args:
        at: the entry's path in the recipe.
        entry: its settings.
        method: decides which formats are possible.
        text_field: `training.dataset_text_field`.
        problems: new ones are appended.
        first_row: returns the first row for a path, or None if it is not available; by default `local_first_row`.
    """
    path: str = entry["path"]
    declared: Format | None = entry.get("format")
    template: Mapping[str, Json] = entry.get("template") or {}
    if declared is not None and declared not in row_formats.FORMATS[method]:
        formats = ", ".join(row_formats.FORMATS[method])
        problems.append(Problem((*at, "format"), f"{show(declared)} is not a format for {method}", f"write {formats}"))
        return SourceFacts(at, None, None)
    think = entry.get("think")
    if think and (problem := _think_problem(at, entry, method)):
        problems.append(problem)
        return SourceFacts(at, None, None)
    writer, texts = ("think", think) if isinstance(think, Mapping) else ("template", template)
    try:
        named = template_fields(texts)
    except UserError as error:
        problems.append(Problem((*at, writer), error.what, error.remedy))
        return SourceFacts(at, None, None)
    try:
        row = (first_row or local_first_row)(path)
    except UserError as error:
        problems.append(Problem((*at, "path"), f"{error.where}: {error.what}", error.remedy))
        return SourceFacts(at, None, None)
    if row is not None:
        for setting, names in ((writer, named), ("filter", entry.get("filter") or ())):
            if missing := [name for name in names if name not in row]:
                what = f"{path} has no field {' and '.join(map(show, missing))}"
                problems.append(Problem((*at, setting), what, f"its fields: {', '.join(map(str, row))}"))
                return SourceFacts(at, None, None)
    if texts is think:
        return SourceFacts(at, "prompt_completion", True)
    declared = declared or row_formats.detect_format(template, method)
    if row is None:
        if len(row_formats.FORMATS[method]) == 1:
            declared = row_formats.FORMATS[method][0]
        decisive = template.get(row_formats.COLUMNS[declared][0]) if declared else None
        conversational = _CONVERSATIONAL.get(declared) if decisive is None else not isinstance(decisive, str)
        return SourceFacts(at, "prompt_completion", True) if think else SourceFacts(at, declared, conversational)
    try:
        row_format, conversational = row_formats.check_row(
            {**row, **fill_template(template, row)}, declared, text_field, path, method
        )
    except UserError as error:
        problems.append(Problem((*at, "path"), f"{error.where}: {error.what}", error.remedy))
        return SourceFacts(at, None, None)
    if think and row_format not in row_formats.OF_TURNS:
        remedy = 'write `think: {prompt: "{question}", reasoning: "{solution}"}`, with its fields'
        problems.append(Problem((*at, "think"), f"true, and {path} holds no conversations ({row_format})", remedy))
    if think:
        return SourceFacts(at, "prompt_completion", True)
    return SourceFacts(at, row_format, conversational, columns=tuple(dict.fromkeys([*row, *template])))


def _think_problem(at: RecipePath, entry: Mapping[str, Json], method: Method) -> Problem | None:
    """Return what contradicts `think`, if anything."""
    if method != "sft":
        return Problem((*at, "think"), f"it writes answers, which {method} does not train on", "leave it out")
    if isinstance(entry["think"], Mapping):
        for key in ("template", "format"):
            if entry.get(key) is not None:
                return Problem((*at, key), "`think` says how rows are read", "keep one of the two")
    elif entry.get("format") not in (None, *row_formats.OF_TURNS):
        what = f"{show(entry['format'])} holds no conversations, which `think: true` needs"
        return Problem((*at, "format"), what, 'write `think: {prompt: "{question}", reasoning: "{solution}"}`')
    return None


def local_first_row(path: str) -> Row | None:
    """Return the first row of data on this machine; None if only the training side can read it.

    Raises:
        UserError: there are no rows, or they cannot be read.
    """
    if path.startswith("builtin:"):
        return dict.fromkeys(BUILTIN_DATA[path.removeprefix("builtin:")], "text")
    if not is_local(path):
        return None
    file = pathlib.Path(path)
    if file.is_dir():
        if any((file / name).is_file() for name in SAVED_TO_DISK):
            return None
        first_file = first_data_file(file)
        if first_file is None:
            raise UserError(
                "the folder holds no data files",
                where=path,
                remedy=f"put one there that ends in {', '.join(row_formats.SUFFIXES)}",
            )
        file = first_file
    return row_formats.first_row(file, str(file))
