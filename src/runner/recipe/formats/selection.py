"""Which rows an entry's `filter` keeps."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
"""A number as JSON writes it, so that a zip code such as ``02130`` is none."""
_WORDS = {"true": True, "false": False}


def row_filter(wanted: Mapping[str, Any] | None) -> Callable[[Mapping[str, Any]], bool]:
    """Return whether a row is kept: each column that the filter names holds its value, or one of its values."""
    tests = [(column, value_filter(value)) for column, value in (wanted or {}).items()]
    return lambda row: all(is_wanted(row.get(column)) for column, is_wanted in tests)


def value_filter(wanted: Any) -> Callable[[Any], bool]:
    """Return whether a cell is what the filter says of its column: a value, or one of a list of values.

    Text is compared as it is written. A number, true or false also matches a text that is nothing else, since all that
    a CSV file holds is text: 4 matches ``4`` and ``4.0``, and not ``04``.
    """
    items = wanted if isinstance(wanted, list | tuple) else [wanted]
    keys = {compared(item) for item in items}
    of_texts = {compared(item) for item in items if isinstance(item, bool | int | float)}

    def is_wanted(value: Any) -> bool:
        if compared(value) in keys:
            return True
        return bool(of_texts) and isinstance(value, str) and not of_texts.isdisjoint(_meanings(value.strip()))

    return is_wanted


def compared(value: Any) -> str:
    """Return what a value is compared by: 1 and 1.0 are equal, and a date and its text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(_plain(value) if hasattr(value, "isoformat") else value, sort_keys=True, default=_plain)


def _meanings(text: str) -> Iterable[str]:
    """Yield what a text is compared by besides itself."""
    if text.lower() in _WORDS:
        yield compared(_WORDS[text.lower()])
    elif len(text) < 40 and _NUMBER.fullmatch(text):
        yield compared(json.loads(text))


def _plain(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
