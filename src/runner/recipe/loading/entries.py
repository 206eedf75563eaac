"""Data entries on the command line: a path, a hub id, or YAML as in a recipe."""

import pathlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from runner.errors import UserError
from runner.recipe import schema
from runner.recipe.formats.columns import UnreadMeaning
from runner.recipe.formats.layouts import NeedsPairs, RowLayout, UnusableRow, layout_called, trained_layout
from runner.recipe.inputs.datasets import SourceFacts
from runner.recipe.inputs.inspection import inspect_inputs
from runner.recipe.loading.strict_yaml import parse_value
from runner.recipe.problems import Problem, RecipeError
from runner.recipe.recipe import DataSource, Json, Recipe

_AT = ("data", "eval", 0)


def evaluation_entry(
    written: str, recipe: Recipe, *, cwd: pathlib.Path, layout: str | None = None, notes: list[str] | None = None
) -> dict[str, Any]:
    """Return the data entry that `written` describes, checked as `runner check` checks a recipe's.

    If `written` has neither format nor template and the rows' format is not recognized, they are read like the recipe's
    own evaluation data, or like its first training data.

    Args:
        written: ``test.jsonl``, ``user/dataset``, or ``{path: user/dataset, split: test, template: {…}}``.
        recipe: its method decides which formats are allowed.
        cwd: relative paths start here.
        layout: the layout of rows that the run was trained in (`RowLayout`'s value), if that is known.
        notes: gets a sentence on how the rows are taken.

    Raises:
        UserError: it is not a valid entry, does not exist, or its rows do not fit.
    """
    where = f"--data {written}"
    said: list[str] = [] if notes is None else notes
    say = said.append
    value: Json = parse_value(written, name=where) if written.lstrip().startswith("{") else {"path": written}
    entry = value if isinstance(value, dict) else {"path": written}
    problems, checked, facts = _check(entry, recipe, cwd)
    guessed = facts is not None and facts.entry is not None and facts.entry.guessed
    if (problems or guessed) and not entry.keys() & {"format", "template"}:
        example = (*recipe.data.eval, *recipe.data.train)[0]
        other_problems, like_example, other_facts = _check({**entry, **_row_settings(example)}, recipe, cwd)
        if not other_problems:
            problems, checked, facts, guessed = [], like_example, other_facts, False
            say(f"{where}: read like the run's own data, {example.path}")
    if problems:
        raise RecipeError(problems, lambda path: where, where=where)
    if facts is not None and facts.entry is not None:
        say(f"{where}: the format is {facts.format}")
        if guessed and facts.entry.taken:
            say(facts.entry.taken.removesuffix("."))
        if (trained_in := layout_called(layout)) is not None:
            _try_layout(facts, trained_in, where, say)
    return checked


def _try_layout(facts: SourceFacts, layout: RowLayout, where: str, say: Callable[[str], None]) -> None:
    """Convert the first rows to the layout that a run was trained in.

    Raises:
        UserError: no row can be converted.
    """
    assert facts.entry is not None
    found: list[str] = []
    mixed = replace(facts.entry.in_mixture, where=where)
    converted = trained_layout([mixed], layout, found)
    convert = facts.entry.converter(converted, structs=facts.structs)
    why = None
    for row in facts.rows:
        try:
            convert(row.row)
        except (UnusableRow, UnreadMeaning) as fault:
            why = str(fault)
        except NeedsPairs:
            return  # the training side takes pairs then
        else:
            break
    else:
        if why is not None:
            raise UserError(
                f"no row can be taken as {layout.value}, which the run was trained on: rows {why}", where=where
            )
    for note in found:
        say(note.removesuffix("."))


def _row_settings(source: DataSource) -> dict[str, Any]:
    """Return the settings that say how an entry's rows are read."""
    given = {"format": source.format, "template": source.template}
    return {name: value for name, value in given.items() if value is not None}


def _check(
    entry: dict[str, Any], recipe: Recipe, cwd: pathlib.Path
) -> tuple[list[Problem], dict[str, Any], SourceFacts | None]:
    data: dict[str, Json] = {
        "name": "evaluation",
        "method": recipe.method,
        "model": dict(recipe.model),
        "data": {"train": [{"path": "builtin:arithmetic"}], "eval": [entry]},
    }
    problems = [Problem(problem.path[3:], problem.what, problem.remedy) for problem in schema.check(data)]
    if problems:
        return problems, entry, None
    text_field = recipe.training.get("dataset_text_field")
    data["training"] = {} if text_field is None else {"dataset_text_field": text_field}
    inspection = inspect_inputs(data, lambda at: cwd.absolute())
    entry_problems = [
        Problem(problem.path[3:], problem.what, problem.remedy)
        for problem in inspection.problems
        if problem.path[:3] == _AT
    ]
    facts = next((one for one in inspection.sources if one.path == _AT), None)
    return entry_problems, inspection.data["data"]["eval"][0], facts
