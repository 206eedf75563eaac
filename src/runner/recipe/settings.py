"""Each setting of a recipe, with its value and its source."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from runner.recipe.problems import RecipePath, dotted_path
from runner.recipe.recipe import Json

Source: TypeAlias = Literal["default", "recipe", "--set", "flag", "sweep"]


@dataclass(frozen=True)
class Setting:
    """One value and its source."""

    value: Json
    """The value as it is used."""
    source: Source
    """``default`` (the library's or ours), ``recipe``, ``--set``, ``flag``, or ``sweep``: drawn for a trial."""


def resolve_settings(
    data: Mapping[str, Json], sources: Mapping[RecipePath, Source], schema: Mapping[str, Any]
) -> dict[str, Setting]:
    """Return every setting by its dotted path (``training.learning_rate``), with the schema's defaults.

    Args:
        data: a mapping that the schema accepts.
        sources: the source of a path and of everything below it.
    """
    return {
        dotted_path(path): Setting(value, "default" if default else source_of(path, sources))
        for path, value, default in _walk(data, schema, ())
    }


def source_of(path: RecipePath, sources: Mapping[RecipePath, Source]) -> Source:
    """Return who set `path`: the entry for its longest prefix in `sources`."""
    for length in range(len(path), 0, -1):
        if path[:length] in sources:
            return sources[path[:length]]
    return "recipe"


def _walk(value: Json, schema: Mapping[str, Any], path: RecipePath) -> Iterator[tuple[RecipePath, Json, bool]]:
    """Yield (path, value, is a default) for every setting; descends into sections and lists of data entries only."""
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
