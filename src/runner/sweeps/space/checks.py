"""Hold each value that a sweep can draw against the recipe's own schema and rules, before anything starts."""

import json
import random
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from runner.recipe.problems import Problem, RecipePath, dotted_path
from runner.recipe.recipe import Json
from runner.sweeps.space.distributions import identity
from runner.sweeps.space.space import Parameter, Space

Check: TypeAlias = Callable[[Mapping[str, Json]], Sequence[Problem]]
"""Returns what is wrong with the recipe when these settings are applied to it, by dotted path."""

MOST_POINTS = 500
"""Of a larger grid, this many points are checked as whole recipes, spread over all of it."""
_DRAWS = 100
"""So many draws are checked as whole recipes where there is no grid."""
_COMPANIONS = 12


def find_impossible(space: Space, places: Mapping[str, RecipePath], check: Check) -> list[Problem]:
    """Return a problem for each parameter with a value that no recipe can have, or one for combinations that fail.

    A parameter is checked alone, beside the recipe's own settings; what fails so is tried beside what the other
    parameters draw, since a setting may need another one.

    Args:
        space: what can be drawn.
        places: where each parameter stands in the file.
        check: applies settings to the recipe.
    """
    companions = [space.settings(point) for point in some_points(space)]
    problems = []
    for parameter in space.parameters:
        failing = list(_failing_values(parameter, companions, check))
        if failing:
            problems.append(_impossible(parameter, failing, places[parameter.name]))
    return problems or list(_failing_combinations(space, check))


_NOTHING: Mapping[str, Json] = {"training.warmup_steps": 0, "training.lr_scheduler_kwargs": None}
"""Settings that only some schedules take, and the values with which they are not there."""


def with_what_lapses(space: Space, owned: Container[str], check: Check) -> tuple[Space, list[str]]:
    """Return the space in which a schedule that takes no warm-up is drawn without the recipe's, and what to say of it.

    Args:
        space: what can be drawn.
        owned: the settings that the sweep itself draws or sets: they do not lapse.
        check: applies settings to the recipe.
    """
    parameters, notes = [], []
    for parameter in space.parameters:
        beside = {}
        for value in parameter.distribution.values() or ():
            found = {dotted_path(problem.path[:2]) for problem in check(parameter.settings(value))}
            lapsing = {path: nothing for path, nothing in _NOTHING.items() if path in found and path not in owned}
            if found and lapsing.keys() == found and not check({**parameter.settings(value), **lapsing}):
                beside[identity(value)] = lapsing
                listed = " and ".join(lapsing)
                notes.append(
                    f"{parameter.name} {shown(value)}: the recipe's {listed} has no effect then, and is left out"
                )
        parameters.append(replace(parameter, beside=beside) if beside else parameter)
    return Space(tuple(parameters)), notes


def _failing_values(
    parameter: Parameter, companions: Sequence[Mapping[str, Json]], check: Check
) -> Iterator[tuple[Json, Problem]]:
    """Yield the values that fail in whatever company, each with the first problem."""
    for value in parameter.distribution.looked_at():
        settings = parameter.settings(value)
        alone = check(settings)
        if alone and all(check({**others, **settings}) for others in companions):
            own = [problem for problem in alone if dotted_path(problem.path) in settings]
            yield value, (own or list(alone))[0]


def _impossible(parameter: Parameter, failing: Sequence[tuple[Json, Problem]], at: RecipePath) -> Problem:
    value, problem = failing[len(failing) // 2]
    setting = dotted_path(problem.path)
    name = "" if not setting or setting in (parameter.path, parameter.name) else f"{setting}: "
    what = f"can be drawn as {shown(value)}, which the recipe cannot have: {name}{problem.what}"
    others = [shown(other) for other, _ in failing if other != value]
    if others:
        what += f" (also {', '.join(others[:4])}{' and others' if len(others) > 4 else ''})"
    return Problem(at, what, _instead(parameter, value, problem))


def _instead(parameter: Parameter, value: Json, problem: Problem) -> str | None:
    kind = parameter.distribution.name
    if kind.startswith("q_") and value == 0:
        q = parameter.distribution.settings["q"]
        return f"raise `min`, or write `values: […]`: {kind} rounds what is below {q / 2:g} to 0"
    if isinstance(value, float) and problem.what.startswith("a whole number expected"):
        return "draw whole numbers: `distribution: int_uniform`, one with `q_` and a whole `q`, or `values: […]`"
    if kind in ("normal", "q_normal") and problem.remedy:
        return f"{problem.remedy}: `{kind}` has no ends, and `uniform` and `log_uniform_values` have"
    return problem.remedy


def _failing_combinations(space: Space, check: Check) -> Iterator[Problem]:
    """Yield one problem if values that are possible alone are not together."""
    points = _points(space, _DRAWS)
    failing = [(point, found[0]) for point in points if (found := check(space.settings(point)))]
    if failing:
        point, problem = failing[0]
        drawn = ", ".join(f"{parameter.name} {shown(point[parameter.name])}" for parameter in space.drawn)
        counted = "none of the" if len(failing) == len(points) else f"{len(failing)} of the"
        can = "can" if len(failing) == len(points) else "cannot"
        what = f"{counted} {len(points)} combinations that were tried {can} be trained; the first is {drawn}"
        remedy = "draw what belongs together as one parameter: `training: {values: [{…}, {…}]}`"
        if problem.remedy:
            remedy = f"{problem.remedy}; or {remedy}"
        yield Problem(("parameters",), f"{what}: {dotted_path(problem.path)}: {problem.what}", remedy)


def some_points(space: Space) -> list[Mapping[str, Json]]:
    """Return a few points of the space, always the same."""
    return _points(space, _COMPANIONS)


def _points(space: Space, draws: int) -> list[Mapping[str, Json]]:
    """Return points of the grid, all or spread over it, or draws where there is no grid."""
    grid = space.grid()
    if grid is not None:
        if grid.size <= MOST_POINTS and draws >= _DRAWS:
            return [grid.point(index) for index in range(grid.size)]
        count = min(grid.size, MOST_POINTS if draws >= _DRAWS else draws)
        return [grid.point(index * grid.size // count) for index in range(count)]
    numbers = random.Random(0)
    return [space.values_at({parameter.name: numbers.random() for parameter in space.drawn}) for _ in range(draws)]


def shown(value: Json) -> str:
    """Return a value as a file would have it, shortened."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
