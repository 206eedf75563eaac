"""A value is held against a type, and the message says where it differs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from runner.runs.record_types.check import Mismatch, check_for
from runner.runs.record_types.rules import Rule


class Inner(TypedDict):
    """A part."""

    word: Literal["a", "b"]
    """One of two."""


class Base(TypedDict):
    """Fields that another type adds to."""

    name: str
    """Always there."""
    note: NotRequired[str | None]
    """Not always there."""


class Outer(Base):
    """Every kind of field."""

    count: Annotated[int, Rule(lambda value: value >= 0, "a number from 0 on")]
    """With a rule."""
    share: NotRequired[float]
    """A number."""
    flag: NotRequired[bool]
    """Yes or no."""
    inner: NotRequired[Inner]
    """A part."""
    several: NotRequired[list[Inner]]
    """Parts."""
    values: NotRequired[Mapping[Annotated[str, Rule(str.islower, "lower case")], float | None]]
    """By name."""
    free: NotRequired[Mapping[str, Any]]
    """Anything."""


GOOD: dict[str, Any] = {"name": "n", "count": 1}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"note": None},
        {"note": "x", "share": 1, "flag": True},
        {"share": -1.5, "inner": {"word": "a"}, "several": [{"word": "b"}, {"word": "a", "new": 1}]},
        {"values": {"a": None, "b": 2, "c": 2.5}, "free": {"X": [None]}},
        {"a field of a newer version": object()},
    ],
)
def test_what_fits_passes(more: dict[str, Any]) -> None:
    check_for(Outer)({**GOOD, **more}, "")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "it is [], not a map"),
        ({"name": "n"}, "count is missing"),
        ({"count": 1}, "name is missing"),
        ({**GOOD, "name": None}, "name is None, not text"),
        ({**GOOD, "note": 3}, "note is 3, not text"),
        ({**GOOD, "count": True}, "count is True, not a whole number"),
        ({**GOOD, "count": 1.0}, "count is 1.0, not a whole number"),
        ({**GOOD, "count": -1}, "count is -1, not a number from 0 on"),
        ({**GOOD, "count": 2**63}, f"count is {2**63}, not a whole number"),
        ({**GOOD, "share": float("nan")}, "share is nan, not a number"),
        ({**GOOD, "share": float("inf")}, "share is inf, not a number"),
        ({**GOOD, "share": True}, "share is True, not a number"),
        ({**GOOD, "flag": 1}, "flag is 1, not true or false"),
        ({**GOOD, "inner": {"word": "c"}}, "inner.word is 'c', not one of a, b"),
        ({**GOOD, "inner": {"word": []}}, "inner.word is [], not one of a, b"),
        ({**GOOD, "inner": {}}, "inner.word is missing"),
        ({**GOOD, "several": {"0": {}}}, "several is {'0': {}}, not a list"),
        ({**GOOD, "several": [{"word": "a"}, None]}, "several[1] is None, not a map"),
        ({**GOOD, "values": {"A": 1}}, "a key of values is 'A', not lower case"),
        ({**GOOD, "values": {"a": "1"}}, "values.a is '1', not a number"),
        ({**GOOD, "values": {"a\x1b": "1"}}, "values['a\\x1b'] is '1', not a number"),
        ({**GOOD, "name": ["\x1b" * 100]}, "name is ['" + "\\x1b" * 14 + "\\x…, not text"),
    ],
)
def test_what_does_not_fit_is_named(value: Any, message: str) -> None:
    with pytest.raises(Mismatch) as caught:
        check_for(Outer)(value, "")
    assert str(caught.value) == message
