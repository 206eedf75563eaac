"""The space of a sweep: its parameters, and from quantiles to values to settings of the recipe."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from runner.recipe.recipe import Json
from runner.sweeps.space.distributions import MOST_IN_GRID, Distribution, identity
from runner.sweeps.space.grid import Grid


@dataclass(frozen=True)
class Parameter:
    """One parameter: what is drawn, and where it belongs in the recipe."""

    name: str
    """Its name in the file, dotted if it is nested there; unique in a space."""
    path: str
    """The dotted path of the setting; of a section, if its values are mappings that are merged into it; empty, if they
    are mappings whose keys are settings."""
    distribution: Distribution
    keys: Mapping[str, str] = field(default_factory=dict)
    """Of values that are mappings of settings: the dotted path of each key; keys of nested ones are joined by ``/``."""
    beside: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """For some values, by their `identity`: settings of the recipe that have no effect then, set to nothing."""

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to draw."""
        return self.distribution.is_constant

    def settings(self, value: Json) -> dict[str, Json]:
        """Return what `value` sets, by dotted path."""
        settings = copy.deepcopy(dict(self.beside.get(identity(value), {}))) if self.beside else {}
        if self.keys and isinstance(value, dict):
            return settings | dict(self._merged(value, ""))
        return settings | ({self.path: copy.deepcopy(value)} if self.path else {})

    def _merged(self, value: Mapping[str, Json], before: str) -> Iterator[tuple[str, Json]]:
        for key, item in value.items():
            if before + key in self.keys:
                yield self.keys[before + key], copy.deepcopy(item)
            elif isinstance(item, dict):
                yield from self._merged(item, f"{before}{key}/")


@dataclass(frozen=True)
class Space:
    """All parameters of a sweep, in W&B's order."""

    parameters: tuple[Parameter, ...]

    @cached_property
    def drawn(self) -> tuple[Parameter, ...]:
        """The parameters that are not constants: those that have a quantile."""
        return tuple(parameter for parameter in self.parameters if not parameter.is_constant)

    def values_at(self, quantiles: Mapping[str, float]) -> dict[str, Json]:
        """Return the value of each parameter, by its name.

        Args:
            quantiles: from 0 to 1, for each of `drawn`; others are not looked at.

        Raises:
            ValueError: a quantile is missing, or is not from 0 to 1.
        """
        values: dict[str, Json] = {}
        for parameter in self.parameters:
            quantile = 0.5 if parameter.is_constant else quantiles.get(parameter.name)
            if quantile is None:
                raise ValueError(f"{parameter.name} has no quantile")
            values[parameter.name] = copy.deepcopy(parameter.distribution.at(quantile))
        return values

    def quantiles_of(self, values: Mapping[str, Json]) -> dict[str, float] | None:
        """Return quantiles at which `values` are drawn; None if they are not in the space.

        Args:
            values: by parameter; those that the space does not have are not looked at.
        """
        quantiles: dict[str, float] = {}
        for parameter in self.parameters:
            if parameter.name not in values:
                return None
            quantile = parameter.distribution.quantile_of(values[parameter.name])
            if quantile is None:
                return None
            if not parameter.is_constant:
                quantiles[parameter.name] = quantile
        return quantiles

    def settings(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """Return what `values` set in the recipe, by dotted path; mappings are merged at theirs.

        Where a section is null (no adapter), what others set in it is left out.

        Args:
            values: a value of each parameter, by its name.

        Raises:
            ValueError: a parameter has no value.
        """
        settings: dict[str, Json] = {}
        for parameter in self.parameters:
            if parameter.name not in values:
                raise ValueError(f"{parameter.name} has no value")
            settings |= parameter.settings(values[parameter.name])
        absent = tuple(f"{path}." for path, value in settings.items() if value is None)
        return {path: value for path, value in settings.items() if not path.startswith(absent)}

    def grid(self) -> Grid | None:
        """Return W&B's grid; None where there is none: `why_no_grid` says why."""
        if self.why_no_grid() is not None:
            return None
        return Grid({one.name: values for one in self.parameters if (values := one.distribution.grid()) is not None})

    def why_no_grid(self) -> str | None:
        """Return the sentence why there is no grid: a distribution that has none; None if there is one."""
        without = [one for one in self.parameters if one.distribution.grid() is None]
        if not without:
            return None
        named = ", ".join(f"{parameter.name} ({parameter.distribution.name})" for parameter in without)
        if all(parameter.distribution.name in ("int_uniform", "q_uniform") for parameter in without):
            return f"a grid has at most {MOST_IN_GRID} values of a parameter: {named} has more"
        return f"a grid takes constant, categorical, int_uniform and q_uniform, and not {named}"

    def to_mapping(self) -> dict[str, Any]:
        """Return the space in JSON, the same for the same space."""
        return {
            "parameters": [
                {
                    "name": parameter.name,
                    "path": parameter.path,
                    "distribution": {"name": parameter.distribution.name, **parameter.distribution.settings},
                    **({"keys": dict(parameter.keys)} if parameter.keys else {}),
                    **(
                        {"beside": {value: dict(set_) for value, set_ in parameter.beside.items()}}
                        if parameter.beside
                        else {}
                    ),
                }
                for parameter in self.parameters
            ]
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Space":
        """Restore what `to_mapping` returned; trusts it."""
        parameters = []
        for written in mapping["parameters"]:
            distribution = dict(written["distribution"])
            kind = distribution.pop("name")
            parameters.append(
                Parameter(
                    written["name"],
                    written["path"],
                    Distribution(kind, distribution),
                    written.get("keys", {}),
                    written.get("beside", {}),
                )
            )
        return cls(tuple(parameters))
