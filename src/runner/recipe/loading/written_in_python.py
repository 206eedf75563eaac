"""Take a recipe that a program has made, as a mapping, where otherwise a file is read."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from runner.errors import UserError
from runner.recipe.loading.strict_yaml import MAX_DEPTH, Document
from runner.recipe.problems import RecipePath, dotted_path
from runner.recipe.recipe import Json

NO_NAME = "recipe"
"""How a recipe is called in messages that has no name."""


def document_of(recipe: Mapping[str, Any]) -> Document:
    """Copy a mapping as the document that a file with the same contents would be.

    Tuples become lists, paths text, and numbers of NumPy those of Python.

    Raises:
        UserError: it has no name (a file has its own), or holds what YAML does not; `where` is the path in the recipe.
    """
    data = _plain(recipe, ())
    if not isinstance(data.get("name"), str):
        raise UserError("has no name", where="the recipe", remedy='write name="my-run": runs are called after it')
    return Document(data)


def name_of(recipe: Mapping[str, Any]) -> str:
    """Return how a recipe is called in messages."""
    name = recipe.get("name")
    return name if isinstance(name, str) and name and "/" not in name and "\0" not in name else NO_NAME


def _plain(value: Any, at: RecipePath) -> Json:
    if len(at) > MAX_DEPTH:
        raise UserError("is nested too deeply", where=dotted_path(at[:4]), remedy="a recipe is flat: write it out")
    if value is None or isinstance(value, bool | str):
        return value if type(value) in (bool, str, type(None)) else str(value)
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UserError(f"the key {key!r} is not text", where=dotted_path(at) or "the recipe")
        return {str(key): _plain(inner, (*at, str(key))) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(inner, (*at, index)) for index, inner in enumerate(value)]
    number = _number(value)
    if number is None:
        remedy = "write text, a number, True, False, None, a list or a mapping"
        raise UserError(f"is a {type(value).__name__}, which no recipe holds", where=dotted_path(at), remedy=remedy)
    return number


def _number(value: Any) -> int | float | None:
    """Return a number that is none of Python's own types, such as NumPy's; None if it is no number."""
    item = getattr(value, "item", None)  # of NumPy's scalars, and of tensors of one element
    if callable(item) and getattr(value, "ndim", 0) == 0:
        number = item()
        if isinstance(number, int | float) and not (isinstance(number, float) and math.isnan(number)):
            return number
    return None
