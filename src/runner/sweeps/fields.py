"""Dataclasses that stand in the store as JSON, held against the types of their own fields."""

import collections.abc
import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from runner.runs.record_types.check import Check, Mismatch, check_for


def check_fields(kind: type, value: Any, **others: Any) -> dict[str, Any]:
    """Return those entries of a JSON map that are fields of a dataclass, each of its type; others are left out.

    Args:
        kind: the dataclass.
        value: the map.
        others: types that say more than the dataclass does, such as `runner.runs.record_types.rules.Time`, by field.

    Raises:
        Mismatch: it is no map, a field without a default is missing, or a value is not of its type.
    """
    if type(value) is not dict:
        raise Mismatch.of("", value, "a map")
    known = {}
    for name, check, required in _checks(kind, tuple(others.items())):
        if name in value:
            check(value[name], name)
            known[name] = value[name]
        elif required:
            raise Mismatch(f"{name} is missing")
    return known


@cache
def _checks(kind: type, others: tuple[tuple[str, Any], ...]) -> list[tuple[str, Check, bool]]:
    hints = {**get_type_hints(kind, include_extras=True), **dict(others)}
    missing = dataclasses.MISSING
    return [
        (field.name, check_for(_in_json(hints[field.name])), field.default is field.default_factory is missing)
        for field in dataclasses.fields(kind)
    ]


def _in_json(hint: Any) -> Any:
    """The type of what JSON has for a field: lists for sequences, and maps by text for mappings."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is collections.abc.Sequence:
        return list[_in_json(arguments[0])]  # type: ignore[misc]
    if origin in (dict, Mapping):
        return Mapping[str, _in_json(arguments[1])]  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        return Union[tuple(_in_json(argument) for argument in arguments)]  # noqa: UP007 (made here)
    return hint
