"""Sweeps' spaces for tests."""

from typing import Any

from runner.sweeps.space.parameters import read_parameters
from runner.sweeps.space.space import Parameter, Space


def make_space(**parameters: Any) -> Space:
    """Return a space of parameters as they are written in a sweep's file, `__` in a name for a dot."""
    result = read_parameters({name.replace("__", "."): tree for name, tree in parameters.items()})
    assert not result.problems
    return Space(tuple(Parameter(each.name, each.name, each.distribution) for each in result.parameters))
