"""Which of a test's cases `make test` runs; `make test-all` runs all of them."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest


def cases(
    values: Iterable[Hashable | tuple[Any, ...]],
    *,
    quick: Callable[..., bool],
    name: Callable[..., str] = lambda *parts: "-".join(map(str, parts)),
) -> list[Any]:
    """Return parameters for `pytest.mark.parametrize`, all but the quick ones marked `thorough`.

    Args:
        values: one value, or a tuple of them, for each case.
        quick: takes a case's values and says whether `make test` runs it.
        name: takes a case's values and returns its id.
    """
    parameters = []
    for value in values:
        parts = value if isinstance(value, tuple) else (value,)
        marks = () if quick(*parts) else (pytest.mark.thorough,)
        parameters.append(pytest.param(*parts, marks=marks, id=name(*parts)))
    return parameters
