"""Where a value stands in a recipe."""

from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""The keys and list indices that lead to a value."""
