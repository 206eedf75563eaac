"""Each setting of a recipe with its value and where that came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from runner.recipe.problems import RecipePath, dotted
from runner.recipe.recipe import Json

Source: TypeAlias = Literal["default", "recipe", "--set", "flag"]


@dataclass(frozen=True)
class Setting:
    """One value, and who set it."""

    value: Json
    """The value as it is used."""
    source: Source
    """``default`` (the library's or ours), ``recipe``, ``--set`` or ``flag``."""


def resolved(
    data: Mapping[str, Json], sources: Mapping[RecipePath, Source], schema: Mapping[str, Any]
) -> dict[str, Setting]:
    """Every setting by its dotted path (``training.learning_rate``), the defaults that the schema knows included.

    Args:
        data: a recipe's mapping that the schema accepts.
        sources: who wrote a path; it holds for what lies below it too.
        schema: the recipe's.
    """
    return {
        dotted(path): Setting(value, "default" if default else source_of(path, sources))
        for path, value, default in _walk(data, schema, ())
    }


def source_of(path: RecipePath, sources: Mapping[RecipePath, Source]) -> Source:
    """Who set `path`: the entry for the longest part of it that there is."""
    for length in range(len(path), 0, -1):
        if path[:length] in sources:
            return sources[path[:length]]
    return "recipe"


def _walk(value: Json, schema: Mapping[str, Any], path: RecipePath) -> Iterator[tuple[RecipePath, Json, bool]]:
    """The leaves: sections and lists of entries are walked into, any other value stands as it is."""
    if isinstance(value, dict) and "properties" in schema and (len(path) < 2 or path[0] == "data"):
        for key, part in schema["properties"].items():
            if key in value:
                yield from _walk(value[key], part, (*path, key))
            elif "default" in part:
                yield (*path, key), part["default"], True
            elif part.get("type") == "object" and path == ():
                yield from _walk({}, part, (key,))
    elif isinstance(value, list) and "properties" in schema.get("items", {}) and path[0] == "data":
        for index, item in enumerate(value):
            yield from _walk(item, schema["items"], (*path, index))
    else:
        yield path, value, False
