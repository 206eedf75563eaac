"""Entries of a recipe's data that somebody writes on the command line: a path, a hub id, or YAML as in a recipe."""

import pathlib
from typing import Any

from runner.recipe import schema
from runner.recipe.inputs.inspection import inspect_inputs
from runner.recipe.loading.strict_yaml import parse_value
from runner.recipe.problems import Problem, RecipeError
from runner.recipe.recipe import DataSource, Json, Recipe

_AT = ("data", "eval", 0)


def evaluation_entry(written: str, recipe: Recipe, *, cwd: pathlib.Path) -> dict[str, Any]:
    """The entry that `written` comes to, checked as `runner check` checks a recipe's.

    Where neither format nor template is given and the rows are not recognized by themselves, they are read like the
    recipe's own evaluation data, or its first training data.

    Args:
        written: ``test.jsonl``, ``user/dataset``, or ``{path: user/dataset, split: test, template: {…}}``.
        recipe: whose method and data.
        cwd: where relative paths begin.

    Raises:
        UserError: it is no entry, is not there, or cannot be read that way.
    """
    where = f"--data {written}"
    value: Json = parse_value(written, name=where) if written.lstrip().startswith("{") else {"path": written}
    entry = value if isinstance(value, dict) else {"path": written}
    problems, checked = _checked(entry, recipe, cwd)
    if problems and not entry.keys() & {"format", "template"}:
        like = (*recipe.data.eval, *recipe.data.train)[0]
        shaped = {**entry, **_shape(like)}
        others, shaped = _checked(shaped, recipe, cwd)
        if not others:
            return shaped
    if problems:
        raise RecipeError(problems, lambda path: where, where=where)
    return checked


def _shape(like: DataSource) -> dict[str, Any]:
    """How the rows of an entry are read."""
    given = {"format": like.format, "template": like.template}
    return {name: value for name, value in given.items() if value is not None}


def _checked(entry: dict[str, Any], recipe: Recipe, cwd: pathlib.Path) -> tuple[list[Problem], dict[str, Any]]:
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
    found = [
        Problem(problem.path[3:], problem.what, problem.remedy)
        for problem in inspection.problems
        if problem.path[:3] == _AT
    ]
    return found, inspection.data["data"]["eval"][0]
