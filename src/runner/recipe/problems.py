"""Mistakes in a recipe, collected so that one error message lists all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from runner.errors import UserError

MAX_SHOWN = 20
"""An error lists at most this many problems, and says what lists the others."""

RecipePath: TypeAlias = tuple[str | int, ...]
"""The keys and list indices that lead to a value in a recipe."""


@dataclass(frozen=True)
class Problem:
    """One mistake."""

    path: RecipePath
    """Where in the recipe: ``("training", "learnin_rate")``."""
    what: str
    """What is wrong, with the value, as a sentence without a final full stop."""
    remedy: str | None = None
    """What to write instead."""


class RecipeError(UserError):
    """Everything that is wrong with one recipe.

    Args:
        problems: at least one mistake.
        locate: returns where a path of the recipe was set: ``jobs/x.yaml:12``, or ``--set training.x=1``.
        where: the recipe's file.
    """

    def __init__(self, problems: Sequence[Problem], locate: Callable[[RecipePath], str], *, where: str) -> None:
        self.problems = tuple(problems)
        self.places = tuple(locate(problem.path) for problem in problems)
        if len(problems) == 1:
            [problem], [place] = self.problems, self.places
            super().__init__(_sentence(problem, place), where=place, remedy=problem.remedy)
            return
        lines = [f"{len(problems)} mistakes"]
        for problem, place in list(zip(self.problems, self.places, strict=True))[:MAX_SHOWN]:
            lines.append(f"  {place}: {_sentence(problem, place)}")
            if problem.remedy:
                lines.append(f"    {problem.remedy}")
        if len(problems) > MAX_SHOWN:
            lines.append(f"  and {len(problems) - MAX_SHOWN} more: `runner check {where} --json` lists them all")
        super().__init__("\n".join(lines), where=where)


def dotted_path(path: RecipePath) -> str:
    """Return a path as it is written for ``--set``: ``data.train.0.split``."""
    return ".".join(map(str, path))


def show(value: Any) -> str:
    """Return a value as it would appear in a recipe, shortened if it is long."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            text = value if value.isprintable() else repr(value)[1:-1]
            text = text if len(text) <= 80 else text[:77] + "..."
            return f"`{text}`" if text else "an empty text"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case _:
            return str(value)


def warning_about(problem: Problem, place: str) -> str:
    """Return a problem that nothing is refused for, as it is said: its place, what is wrong, what to write instead."""
    said = f"warning: {place}: {_sentence(problem, place)}"
    return f"{said}\n  {problem.remedy}" if problem.remedy else said


def _sentence(problem: Problem, place: str) -> str:
    name = dotted_path(problem.path)
    return f"{name}: {problem.what}" if name and f" {name}=" not in place else problem.what
