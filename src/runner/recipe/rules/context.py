"""What a rule may look at: the recipe, its settings, and what is known of its data."""

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
    """All that a rule may look at."""

    recipe: Recipe
    """The recipe, complete."""
    settings: Mapping[str, Setting]
    """Every setting with its source, defaults included."""
    sources: tuple[SourceFacts, ...]
    """What is known of the data."""

    def value(self, name: str) -> Any:
        """A setting's value, its default where nobody set it; None where there is no such setting."""
        setting = self.settings.get(name)
        return None if setting is None else setting.value

    def is_set(self, name: str) -> bool:
        """Whether somebody wrote it."""
        setting = self.settings.get(name)
        return setting is not None and setting.source != "default"

    @property
    def has_eval_data(self) -> bool:
        """Whether there is anything to evaluate on."""
        return bool(self.recipe.data.eval) or self.recipe.data.eval_from_train is not None

    @property
    def evaluates(self) -> bool:
        """Whether training evaluates on the way."""
        return str(self.value("training.eval_strategy")) != "no"

    def asks(self, name: str) -> bool:
        """Whether somebody set a value that is not the default."""
        section, _, key = name.partition(".")
        default = recipe_schema(self.recipe.method)["properties"][section]["properties"][key].get("default")
        return self.is_set(name) and self.value(name) != default


Rule: TypeAlias = Callable[[RuleContext], Iterable[Problem]]
"""One contradiction to look for."""


def problem_at(name: str, what: str, remedy: str | None = None) -> Problem:
    """What is wrong with the setting of a dotted name."""
    return Problem(tuple(name.split(".")), what, remedy)
