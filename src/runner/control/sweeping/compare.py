"""Resolved recipes side by side: whether a result of one says something of the other."""

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from runner.recipe.recipe import Json
from runner.sweeps.space.distributions import identity

_COMPARED = ("method", "model", "data", "adapter", "training", "stages")
"""The parts of a recipe that a result depends on."""
_NOT_COMPARED = (
    *("eval_", "save_", "logging_", "load_best", "metric_for_best", "greater_is_better", "report_to"),
    *("seed", "data_seed", "run_name", "output_dir", "per_device_eval", "trackio", "project"),
)
"""How settings under `training` begin that it does not depend on, or only by chance."""

MISSING = object()
"""Stands for what is not there."""


def differences(one: Mapping[str, Json], other: Mapping[str, Json], *, drawn: Collection[str] = ()) -> Iterator[str]:
    """Yield the dotted paths at which two resolved recipes train differently.

    Args:
        one: a recipe.
        other: another one.
        drawn: dotted paths that are left out, with what is below them.
    """
    for part in _COMPARED:
        for path in _differences(one.get(part), other.get(part), part):
            if not any(path == each or path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in drawn):
                yield path


def value_at(recipe: Mapping[str, Json], path: str) -> object:
    """Return the value at a dotted path; `MISSING` if there is none."""
    at: Any = recipe
    for step in path.split("."):
        if isinstance(at, list) and step.isdecimal() and int(step) < len(at):
            at = at[int(step)]
        elif isinstance(at, Mapping) and step in at:
            at = at[step]
        else:
            return MISSING
    return at


def with_settings(recipe: Mapping[str, Json], settings: Mapping[str, Json]) -> dict[str, Json]:
    """Return a resolved recipe with settings by dotted path."""
    result: dict[str, Json] = copy.deepcopy(dict(recipe))
    for path, value in settings.items():
        at: Any = result
        *above, last = path.split(".")
        for step in above:
            if isinstance(at, list):
                at = at[int(step)] if step.isdecimal() and int(step) < len(at) else {}
            else:
                if not isinstance(at.get(step), dict | list):
                    at[step] = {}
                at = at[step]
        if isinstance(at, list):
            if last.isdecimal() and int(last) < len(at):
                at[int(last)] = copy.deepcopy(value)
        else:
            at[last] = copy.deepcopy(value)
    return result


def _differences(one: Json, other: Json, path: str) -> Iterator[str]:
    """Yield the paths at which two parts of recipes differ, without those that do not matter."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if not (path.endswith("training") and key.startswith(_NOT_COMPARED)):
                yield from _differences(one.get(key), other.get(key), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{path}.{index}")
    elif identity(one) != identity(other):
        yield path
