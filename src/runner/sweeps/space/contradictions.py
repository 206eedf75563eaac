"""Settings of the recipe that cannot stand beside what the sweep draws: left out where it is clear what is meant."""

import copy
from collections.abc import Iterator, Set
from typing import Any

from runner.recipe.problems import Problem, RecipePath
from runner.recipe.recipe import Json

_EFFECTIVE, _MICRO, _ACCUMULATION = "effective_batch_size", "per_device_train_batch_size", "gradient_accumulation_steps"
_STEPS, _EPOCHS = "max_steps", "num_train_epochs"


def without_contradicted(
    data: dict[str, Json], drawn: Set[str]
) -> tuple[dict[str, Json], list[str], list[tuple[str, Problem]]]:
    """Return the recipe without what the sweep's settings contradict, what to say, and what is not clear.

    Args:
        data: the recipe as written, with the command line's changes; not modified.
        drawn: dotted paths of all settings that the sweep draws or sets.

    Returns:
        The recipe, notes, and problems, each with the drawn path that it is about.
    """
    data = copy.deepcopy(data)
    notes: list[str] = []
    problems: list[tuple[str, Problem]] = []
    for prefix, section in _sections(data):
        set_here = {
            path.rpartition(".")[2]
            for path in drawn
            if path.rpartition(".")[0] in ("training", f"{prefix}training") and path.count(".") < 4
        }
        for key, why in _contradicted(section, set_here):
            value = section.pop(key)
            notes.append(f"the recipe's {prefix}training.{key}: {value} is left out: {why}")
        lone = set_here & {_MICRO, _ACCUMULATION}
        if section.get(_EFFECTIVE) is not None and len(lone) == 1 and _EFFECTIVE not in set_here:
            [one] = lone
            other = _ACCUMULATION if one == _MICRO else _MICRO
            what = (
                f"the recipe's {_EFFECTIVE}: {section[_EFFECTIVE]} stays the same whatever `{one}` is, which "
                "would only split it otherwise"
            )
            remedy = f"draw `{_EFFECTIVE}` instead, or write `{other}: {{value: …}}` beside it"
            path = next(path for path in drawn if path.endswith(f"training.{one}"))
            problems.append((path, Problem((), what, remedy)))
    return data, notes, problems


def _contradicted(section: dict[str, Json], drawn: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys of `training:` that lose their meaning, each with the reason."""
    parts = drawn & {_MICRO, _ACCUMULATION}
    if _EFFECTIVE not in drawn and section.get(_EFFECTIVE) is not None and parts:
        known = parts | {key for key in (_MICRO, _ACCUMULATION) if section.get(key) is not None}
        if len(known) == 2:
            yield _EFFECTIVE, f"the sweep draws {' and '.join(sorted(parts))}"
    if _EFFECTIVE in drawn and all(key in section or key in drawn for key in (_MICRO, _ACCUMULATION)):
        if _ACCUMULATION in section and _ACCUMULATION not in drawn:
            yield _ACCUMULATION, f"the sweep draws {_EFFECTIVE}"
        elif _MICRO in section and _MICRO not in drawn:
            yield _MICRO, f"the sweep draws {_EFFECTIVE} and {_ACCUMULATION}"
    if _EPOCHS in drawn and _STEPS not in drawn and (section.get(_STEPS) or -1) > 0:
        yield _STEPS, f"it would override {_EPOCHS}, which the sweep draws"
    if _STEPS in drawn and _EPOCHS not in drawn and _EPOCHS in section:
        yield _EPOCHS, f"{_STEPS}, which the sweep sets, overrides it"


def _sections(data: dict[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield each `training:` of the recipe, with what is before it in a dotted path."""
    if isinstance(data.get("training"), dict):
        yield "", data["training"]
    stages: Any = data.get("stages")
    for stage in stages if isinstance(stages, list) else ():
        if isinstance(stage, dict) and isinstance(stage.get("training"), dict):
            yield f"stages.{stage.get('name', stage.get('method'))}.", stage["training"]


def at_path(problem: Problem, at: RecipePath) -> Problem:
    """Return the problem at another place."""
    return Problem(at, problem.what, problem.remedy)
