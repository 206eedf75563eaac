"""What the command line changes in a recipe: ``--set training.learning_rate=1e-4``, and flags."""

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
class Layered:
    """A recipe's mapping with the command line's changes laid over it."""

    data: dict[str, Json]
    """The values."""
    sources: dict[RecipePath, Source] = field(default_factory=dict)
    """Who wrote a path, for those that the recipe's file did not write; it holds for what lies below."""
    places: dict[RecipePath, str] = field(default_factory=dict)
    """For the same paths, what stood on the command line."""


def apply_overrides(document: Document, overrides: Sequence[str], flags: Mapping[str, Any]) -> Layered:
    """Lay `overrides` over a recipe, then `flags`; of two that set the same, the later one counts.

    Args:
        document: the recipe as it was written.
        overrides: ``KEY=VALUE`` each, the key dotted, the value YAML.
        flags: values by dotted key, as other options of a command set them; the value is taken as it is.

    Raises:
        UserError: an override is none, or its key leads through a value that is neither mapping nor list.
    """
    result = Layered(copy.deepcopy(document.data))
    for override in overrides:
        key, equals, text = override.partition("=")
        where = f"--set {override if len(override) <= 80 else override[:77] + '...'}"
        if not equals or not key.strip():
            raise UserError("not `KEY=VALUE`", where=where, remedy=_EXAMPLE)
        _put(result, _steps(key.strip(), where), parse_value(text, name=where), "--set", where)
    for key, value in flags.items():
        where = f"the flag for {key}"
        _put(result, _steps(key, where), copy.deepcopy(value), "flag", where)
    return result


def _steps(key: str, where: str) -> tuple[str, ...]:
    steps = tuple(key.split("."))
    if not all(steps):
        raise UserError(f"`{key}` is not the path of a setting", where=where, remedy=_EXAMPLE)
    return steps


def _put(result: Layered, steps: tuple[str, ...], value: Json, source: Source, where: str) -> None:
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
    """The step as it indexes `at`: a list's next entry may be named, to add one."""
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
            f"`{so_far}` is a list of {len(at)}, and `{step}` is none of its entries",
            where=where,
            remedy=f"count from 0: `{so_far}.0`" if at else f"begin with `{so_far}.0`",
        )
    raise UserError(
        f"`{so_far}` is {show(at)}, which has no `{step}`",
        where=where,
        remedy=f"set all of it: `--set {so_far}=…`",
    )


def _name_of(stage: Json) -> Json:
    """What an entry under `stages` is called."""
    return stage.get("name", stage.get("method")) if isinstance(stage, dict) else None
