"""Apply the command line's changes to a recipe: ``--set training.learning_rate=1e-4``, and flags."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.errors import UserError
from runner.recipe.loading.strict_yaml import Document, parse_value
from runner.recipe.problems import RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.settings import Source

_EXAMPLE = "write `--set training.learning_rate=1e-4`"


@dataclass(frozen=True)
class LayeredRecipe:
    """A recipe's mapping with the command line's changes applied."""

    data: dict[str, Json]
    """The values."""
    sources: dict[RecipePath, Source] = field(default_factory=dict)
    """The source of each path that the recipe's file did not set, and of everything below it."""
    places: dict[RecipePath, str] = field(default_factory=dict)
    """For the same paths, the words on the command line."""


def apply_overrides(document: Document, overrides: Sequence[str], flags: Mapping[str, Any]) -> LayeredRecipe:
    """Apply `overrides` to a recipe, then `flags`. If two set the same key, the later one wins.

    Args:
        document: the recipe's file.
        overrides: ``KEY=VALUE`` each, with a dotted key and a YAML value.
        flags: values by dotted key, from other options of a command; not parsed.

    Raises:
        UserError: an override is not ``KEY=VALUE``, or its key leads through a scalar.
    """
    result = LayeredRecipe(copy.deepcopy(document.data))
    for override in overrides:
        key, equals, text = override.partition("=")
        where = f"--set {override if len(override) <= 80 else override[:77] + '...'}"
        if not equals or not key.strip():
            raise UserError("not `KEY=VALUE`", where=where, remedy=_EXAMPLE)
        _put(result, _steps(key.strip(), where), parse_value(text, name=where), "--set", where)
    apply_values(result, flags, source="flag", place="the flag for {}")
    return result


def apply_values(layers: LayeredRecipe, values: Mapping[str, Any], *, source: Source, place: str) -> None:
    """Set values in a recipe, in place.

    Args:
        layers: the recipe.
        values: by dotted key; not parsed.
        source: who sets them.
        place: names one of them in errors; ``{}`` stands for its key.

    Raises:
        UserError: a key leads through a scalar.
    """
    for key, value in values.items():
        where = place.format(key)
        _put(layers, _steps(key, where), copy.deepcopy(value), source, where)


def _steps(key: str, where: str) -> tuple[str, ...]:
    steps = tuple(key.split("."))
    if not all(steps):
        raise UserError(f"`{key}` is not the path of a setting", where=where, remedy=_EXAMPLE)
    return steps


def _put(result: LayeredRecipe, steps: tuple[str, ...], value: Json, source: Source, where: str) -> None:
    at: Any = result.data
    path: RecipePath = ()
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        key = _key(at, path, step, where)
        path = (*path, key)
        if last:
            if isinstance(key, int) and key == len(at):
                at.append(value)
            else:
                at[key] = value
        else:
            following: Json = (
                [] if path in (("data", "train"), ("data", "eval")) and steps[position + 1].isdecimal() else {}
            )
            if isinstance(key, int) and key == len(at):
                at.append(following)
            elif isinstance(at, dict) and at.get(key) is None:
                at[key] = following
            at = at[key]
    for below in [known for known in result.sources if known[: len(path)] == path]:
        del result.sources[below], result.places[below]
    result.sources[path] = source
    result.places[path] = where


def _key(at: Any, path: RecipePath, step: str, where: str) -> str | int:
    """Return the index or key that `step` means in `at`. The index after a list's last entry adds one."""
    if isinstance(at, dict):
        return step
    so_far = ".".join(map(str, path))
    if isinstance(at, list):
        if step.isascii() and step.isdigit() and len(step) < 7 and int(step) <= len(at):
            return int(step)
        named = [index for index, entry in enumerate(at) if path == ("stages",) and step == _name_of(entry)]
        if len(named) == 1:
            return named[0]
        raise UserError(
            f"`{so_far}` is a list of {len(at)}, and `{step}` is not one of its entries",
            where=where,
            remedy=f"count from 0: `{so_far}.0`" if at else f"begin with `{so_far}.0`",
        )
    raise UserError(
        f"`{so_far}` is {show(at)}, which has no `{step}`",
        where=where,
        remedy=f"set all of it: `--set {so_far}=…`",
    )


def _name_of(stage: Json) -> Json:
    """Return the name of an entry under `stages`."""
    return stage.get("name", stage.get("method")) if isinstance(stage, dict) else None
