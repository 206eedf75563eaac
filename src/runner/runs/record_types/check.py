"""Hold a JSON value against a type: a TypedDict of this package, and what its fields are made of."""

import types
from collections.abc import Callable, Mapping
from functools import cache
from math import isfinite
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Check = Callable[[Any, str], None]
"""Takes a value and the path to it; raises `Mismatch` if the value is not of the type."""

_LARGEST = 2**63
_SHOWN = 60
_PLAIN = {str: "text", bool: "true or false", type(None): "null"}


class _Anything(TypedDict):
    """A map with any entries."""


class Mismatch(ValueError):
    """A value is not of its type; the message names the path to it and shows it."""

    @classmethod
    def of(cls, path: str, value: object, words: str) -> "Mismatch":
        """For a value that is there and is not what `words` say."""
        shown = ascii(value)
        return cls(f"{path or 'it'} is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}, not {words}")


@cache
def check_for(kind: Any) -> Check:
    """The check for a type.

    Args:
        kind: a TypedDict, `str`, `int`, `float`, `bool`, `None`, `Any`, or a `list`, `Mapping`, `Literal`, union or
            `Annotated` of such types. Numbers must be finite, and whole ones fit into 64 bits.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value, path: None
    if is_typeddict(kind):
        return _fields(kind)
    if origin is Annotated:
        return _with_rules(check_for(arguments[0]), arguments[1:])
    if origin is Literal:
        return _one_of(arguments)
    if origin in (Union, types.UnionType):
        return _any_of(arguments)
    if origin is list:
        return _items(check_for(arguments[0]))
    if origin is Mapping and arguments == (str, Any):
        return _fields(_Anything)  # the settings of a run are hundreds: nothing is to be looked at
    if origin is Mapping:
        return _entries(check_for(arguments[0]), check_for(arguments[1]))
    if kind is int:
        return _whole_number
    if kind is float:
        return _number
    return _instance(kind)


def _fields(kind: Any) -> Check:
    fields: dict[str, tuple[Check, bool]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        while get_origin(hint) in (Required, NotRequired):
            hint = get_args(hint)[0]
        fields[name] = check_for(hint), name in kind.__required_keys__

    def check(value: Any, path: str) -> None:
        if type(value) is not dict:
            raise Mismatch.of(path, value, "a map")
        for name, (check_field, required) in fields.items():
            if name in value:
                check_field(value[name], f"{path}.{name}" if path else name)
            elif required:
                raise Mismatch(f"{path}.{name} is missing" if path else f"{name} is missing")

    return check


def _with_rules(check_base: Check, rules: tuple[Any, ...]) -> Check:
    def check(value: Any, path: str) -> None:
        check_base(value, path)
        for rule in rules:
            if not rule.holds(value):
                raise Mismatch.of(path, value, rule.words)

    return check


def _one_of(values: tuple[Any, ...]) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or value not in values:
            raise Mismatch.of(path, value, f"one of {', '.join(values)}")

    return check


def _any_of(kinds: tuple[Any, ...]) -> Check:
    """A union; the message is that of the first type that is not None."""
    optional = type(None) in kinds
    checks = [check_for(kind) for kind in kinds if kind is not type(None)]

    def check(value: Any, path: str) -> None:
        if optional and value is None:
            return
        mismatches = []
        for check_one in checks:
            try:
                check_one(value, path)
            except Mismatch as mismatch:
                mismatches.append(mismatch)
            else:
                return
        raise mismatches[0]

    return check


def _items(check_item: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if type(value) is not list:
            raise Mismatch.of(path, value, "a list")
        for place, item in enumerate(value):
            check_item(item, f"{path}[{place}]")

    return check


def _entries(check_key: Check, check_value: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if type(value) is not dict:
            raise Mismatch.of(path, value, "a map")
        for key, inner in value.items():
            check_key(key, f"a key of {path}")
            check_value(inner, f"{path}.{key}" if key.isidentifier() else f"{path}[{ascii(key)[:_SHOWN]}]")

    return check


def _whole_number(value: Any, path: str) -> None:
    if type(value) is not int or not -_LARGEST <= value < _LARGEST:
        raise Mismatch.of(path, value, "a whole number")


def _number(value: Any, path: str) -> None:
    if type(value) is int and -_LARGEST <= value < _LARGEST:
        return
    if type(value) is not float or not isfinite(value):
        raise Mismatch.of(path, value, "a number")


def _instance(kind: Any) -> Check:
    def check(value: Any, path: str) -> None:
        if type(value) is not kind:
            raise Mismatch.of(path, value, _PLAIN[kind])

    return check
