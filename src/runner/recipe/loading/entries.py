"""Data entries on the command line: a path, a hub id, or YAML as in a recipe."""

import pathlib
from typing import Any

from runner.recipe import schema
from runner.recipe.inputs.inspection import inspect_inputs
from runner.recipe.loading.strict_yaml import parse_value
from runner.recipe.problems import Problem, RecipeError
from runner.recipe.recipe import DataSource, Json, Recipe

_AT = ("data", "eval", 0)


def evaluation_entry(written: str, recipe: Recipe, *, cwd: pathlib.Path) -> dict[str, Any]:
    """Return the data entry that `written` describes, checked as `runner check` checks a recipe's.

    If `written` has neither format nor template and the rows' format is not recognized, they are read like the recipe's
    own evaluation data, or like its first training data.

    Args:
        written: ``test.jsonl``, ``user/dataset``, or ``{path: user/dataset, split: test, template: {…}}``.
        recipe: its method decides which formats are allowed.
        cwd: relative paths start here.

    Raises:
        UserError: it is not a valid entry, does not exist, or its rows do not fit.
    """
    where = f"--data {written}"
    value: Json = parse_value(written, name=where) if written.lstrip().startswith("{") else {"path": written}
    entry = value if isinstance(value, dict) else {"path": written}
    problems, checked = _check(entry, recipe, cwd)
    if problems and not entry.keys() & {"format", "template"}:
        example = (*recipe.data.eval, *recipe.data.train)[0]
        other_problems, like_example = _check({**entry, **_row_settings(example)}, recipe, cwd)
        if not other_problems:
            return like_example
    if problems:
        raise RecipeError(problems, lambda path: where, where=where)
    return checked


def _row_settings(source: DataSource) -> dict[str, Any]:
    """Return the settings that say how an entry's rows are read."""
    given = {"format": source.format, "template": source.template}
    return {name: value for name, value in given.items() if value is not None}


def _check(entry: dict[str, Any], recipe: Recipe, cwd: pathlib.Path) -> tuple[list[Problem], dict[str, Any]]:
    data: dict[str, Json] = {
        "name": "evaluation",
        "method": recipe.method,
        "model": dict(recipe.model),
        "data": {"train": [{"path": "builtin:arithmetic"}], "eval": [entry]},
    }
    problems = [Problem(problem.path[3:], problem.what, problem.remedy) for problem in schema.check(data)]
    if problems:
        return problems, entry
    text_field = recipe.training.get("dataset_text_field")
    data["training"] = {} if text_field is None else {"dataset_text_field": text_field}
    inspection = inspect_inputs(data, lambda at: cwd.absolute())
    entry_problems = [
        Problem(problem.path[3:], problem.what, problem.remedy)
        for problem in inspection.problems
        if problem.path[:3] == _AT
    ]
    return entry_problems, inspection.data["data"]["eval"][0]
