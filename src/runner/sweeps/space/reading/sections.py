"""What a key of a sweep's file takes, and what is said of a value that is something else."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.suggestions import closest
from runner.sweeps.space.file import RunnerSection


@dataclass
class Kind:
    """What a key takes."""

    words: str
    """What is expected, for messages."""
    types: tuple[type, ...] = ()
    """A bool is no number, and 3.0 is a whole one."""
    above: float | None = None
    least: float | None = None
    choices: tuple[str, ...] = ()
    """The only texts; empty: any."""
    many: bool = False
    """Whether a list of them is taken as well."""


def whole(least: int) -> Kind:
    """A whole number, not below `least`."""
    return Kind(f"a whole number of at least {least}", (int,), least=least)


ABOVE_0 = Kind("a number above 0", (int, float), above=0)
TEXT, FLAG, NUMBER = Kind("text", (str,)), Kind("true or false", (bool,)), Kind("a number", (int, float))


def read_section(
    written: Mapping[str, Json],
    known: Mapping[str, Kind],
    at: RecipePath,
    others: Mapping[str, str],
    problems: list[Problem],
) -> dict[str, Any]:
    """Return the values of a section that are of their kinds; the others, and unknown keys, are problems.

    Args:
        written: the section.
        known: its keys.
        at: where it is in the file.
        others: for keys that people write instead, what to write.
        problems: to be added to.
    """
    problems += [unknown_key((*at, key), known, others, f"`{at[0]}`") for key in written if key not in known]
    return read_values({key: value for key, value in written.items() if key in known}, known, at, problems)


def read_values(
    written: Mapping[str, Json], known: Mapping[str, Kind], at: RecipePath, problems: list[Problem]
) -> dict[str, Any]:
    """Return the values that are of their kinds; the others are problems."""
    values: dict[str, Any] = {}
    for key, value in written.items():
        kind = known[key]
        if kind.many:
            items = value if isinstance(value, list) else [value]
            wrong = [item for item in items if not _is(item, kind)]
            if wrong or not items:
                problems.append(_wrong((*at, key), wrong[0] if wrong else value, kind))
            else:
                values[key] = tuple(_plain(item, kind) for item in items)
        elif not _is(value, kind):
            problems.append(_wrong((*at, key), value, kind))
        else:
            values[key] = _plain(value, kind)
    return values


def unknown_key(
    at: RecipePath, known: Iterable[str], others: Mapping[str, str], of: str, listed: Iterable[str] = ()
) -> Problem:
    """Say that there is no such key, and which is meant.

    Args:
        at: where it is.
        known: the keys that there are.
        others: for keys that people write instead, what to write.
        of: what has no such key, in words.
        listed: those of `known` that are named if none is near; empty: all.
    """
    key = str(at[-1])
    known = list(known)
    remedy = others.get(key)
    if remedy is None and (meant := closest(key, known)):
        remedy = f"did you mean `{meant}`?"
    elif remedy is None and len(at) == 1 and key in {part.name for part in dataclasses.fields(RunnerSection)}:
        remedy = "write it under `runner:`"
    return Problem(at, f"{of} has no such key", remedy or f"there are {', '.join(listed or known)}")


def _is(value: Json, kind: Kind) -> bool:
    if isinstance(value, bool):
        return bool in kind.types
    if isinstance(value, float) and kind.types == (int,):
        return value.is_integer() and _is(int(value), kind)
    if not isinstance(value, kind.types) or (kind.choices and value not in kind.choices):
        return False
    if isinstance(value, int | float):
        enough = (kind.above is None or value > kind.above) and (kind.least is None or value >= kind.least)
        return enough and math.isfinite(value)
    return True


def _plain(value: Json, kind: Kind) -> Any:
    return int(value) if isinstance(value, float) and kind.types == (int,) else value


def _wrong(at: RecipePath, value: Json, kind: Kind) -> Problem:
    words = kind.words if not kind.choices else f"one of {', '.join(kind.choices)}"
    remedy = "write one, or leave it out"
    if kind.choices and isinstance(value, str) and (meant := closest(value.lower(), kind.choices)):
        remedy = f"did you mean `{meant}`?"
    elif isinstance(value, str) and kind.types[0] in (int, float) and _is(_number(value), kind):
        remedy = f"write {value}, without quotes"
    return Problem(at, f"{words} expected, not {show(value)}", remedy)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
