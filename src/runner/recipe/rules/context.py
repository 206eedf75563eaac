"""The input of a rule: the recipe, its settings, and what is known about its data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from runner.recipe.inputs.datasets import SourceFacts
from runner.recipe.problems import Problem
from runner.recipe.recipe import Recipe
from runner.recipe.schema import recipe_schema
from runner.recipe.settings import Setting


@dataclass(frozen=True)
class RuleContext:
    """Everything that a rule may use."""

    recipe: Recipe
    """The recipe, complete."""
    settings: Mapping[str, Setting]
    """Every setting with its source, including defaults."""
    sources: tuple[SourceFacts, ...]
    """What is known about each entry of the data."""

    def value(self, name: str) -> Any:
        """Return a setting's value or its default; None if there is no such setting."""
        setting = self.settings.get(name)
        return None if setting is None else setting.value

    def is_set(self, name: str) -> bool:
        """Whether the user set it."""
        setting = self.settings.get(name)
        return setting is not None and setting.source != "default"

    @property
    def has_eval_data(self) -> bool:
        """Whether there is evaluation data."""
        return bool(self.recipe.data.eval) or self.recipe.data.eval_from_train is not None

    @property
    def evaluates(self) -> bool:
        """Whether there are evaluations during training."""
        return str(self.value("training.eval_strategy")) != "no"

    def asks(self, name: str) -> bool:
        """Whether the user set a value that is not the default."""
        section, _, key = name.partition(".")
        default = recipe_schema(self.recipe.method)["properties"][section]["properties"][key].get("default")
        return self.is_set(name) and self.value(name) != default


Rule: TypeAlias = Callable[[RuleContext], Iterable[Problem]]
"""Checks for one kind of contradiction."""


def problem_at(name: str, what: str, remedy: str | None = None) -> Problem:
    """Return a problem with the setting of this dotted name."""
    return Problem(tuple(name.split(".")), what, remedy)
