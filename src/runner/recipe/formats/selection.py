"""Which rows an entry's `filter` keeps."""

import json
from collections.abc import Callable, Mapping
from typing import Any


def row_filter(wanted: Mapping[str, Any] | None) -> Callable[[Mapping[str, Any]], bool]:
    """Return whether a row is kept: each column that the filter names holds its value, or one of its values."""
    keys = [
        (column, {compared(item) for item in (value if isinstance(value, list | tuple) else [value])})
        for column, value in (wanted or {}).items()
    ]
    return lambda row: all(compared(row.get(column)) in values for column, values in keys)


def compared(value: Any) -> str:
    """Return what a value is compared by: 1 and 1.0 are equal, and neither equals "1" or true."""
    is_whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if is_whole else value, sort_keys=True, default=str)
