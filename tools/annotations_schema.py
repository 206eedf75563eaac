"""JSON Schema from dataclasses: types from annotations, choices and explanations from metadata, defaults."""

import collections.abc
import dataclasses
import enum
import re
import types
import typing
from typing import Any

Schema = dict[str, Any]

POSITIVE: Schema = {"minimum": 1}
NOT_NEGATIVE: Schema = {"minimum": 0}
ABOVE_ZERO: Schema = {"exclusiveMinimum": 0}
BELOW_ONE: Schema = {"minimum": 0, "exclusiveMaximum": 1}
SEED: Schema = {"minimum": 0, "maximum": 2**32 - 1}  # numpy.random.seed takes no more
PATH: Schema = {"minLength": 1}


def of_type(annotation: Any) -> Schema:
    """Return the schema of the values that an annotation allows."""
    if annotation is Any:
        return {}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return {"enum": [member.value for member in annotation]}
    if dataclasses.is_dataclass(annotation):
        return of_dataclass(typing.cast("type", annotation))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return of_union(arguments)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if annotation is dict or origin in (dict, collections.abc.Mapping):
        values = of_type(arguments[1]) if arguments else {}
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    if origin is tuple and arguments[-1] is not Ellipsis:
        return {"type": "array", "items": of_type(arguments[0]), "minItems": len(arguments), "maxItems": len(arguments)}
    if annotation is list or origin in (list, tuple):
        return {"type": "array", **({"items": of_type(arguments[0])} if arguments else {})}
    return {"type": {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}[annotation]}


def of_union(members: tuple[Any, ...]) -> Schema:
    """Combine a union's members: an enumeration's values replace plain text, other types become one list."""
    enums = any(isinstance(member, type) and issubclass(member, enum.Enum) for member in members)
    choices: list[Any] = []
    kinds: list[str] = []
    rest: Schema = {}
    for member in members:
        if member is str and enums:
            continue
        schema = of_type(member)
        if "enum" in schema:
            choices += schema["enum"]
        else:
            kinds.append(schema.pop("type"))
            rest |= schema
    if not choices:
        return {"type": kinds[0] if len(kinds) == 1 else sorted(set(kinds)), **rest}
    if set(kinds) <= {"null", "boolean"}:
        constants = ([None] if "null" in kinds else []) + ([True, False] if "boolean" in kinds else [])
        return {"enum": [*choices, *constants]}
    return {"anyOf": [{"type": sorted(set(kinds)), **rest}, {"enum": choices}]}


def of_dataclass(cls: type) -> Schema:
    """Return the schema of a mapping with exactly the fields of `cls`."""
    return {"type": "object", "additionalProperties": False, "properties": fields_of(cls, {})}


def fields_of(cls: type, bounds: dict[str, Schema]) -> dict[str, Schema]:
    """Return the schema of each field of a library's dataclass, from its annotation and its metadata."""
    hints = typing.get_type_hints(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        schema = of_field(field, hints[field.name]) | bounds.get(field.name, {})
        properties[field.name] = explained(field.metadata.get("help")) | schema
    return properties


def of_field(field: "dataclasses.Field[Any]", annotation: Any) -> Schema:
    """Return the type, choices and default of one field."""
    schema = of_type(annotation)
    choices = field.metadata.get("choices")
    if choices:
        nullable = "null" in schema["type"]
        schema = {"enum": [*choices, *([None] if nullable else [])]}
    return schema | default_of(field)


def default_of(field: "dataclasses.Field[Any]") -> Schema:
    """Return the default of a field as JSON, if it has one."""
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return {}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        value = value.value
    return {"default": list(value) if isinstance(value, tuple) else value}


def explained(text: str | None) -> Schema:
    """Return the first sentence of an explanation, without links."""
    if not text:
        return {}
    text = re.sub(r"\[([^\]]+)\]\([^)\s]*\)|<a [^>]*>(.*?)</a>", lambda m: m[1] or m[2], text)
    text = " ".join(text.replace("%%", "%").split())
    sentence = re.match(r".*?[^.](?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)[.!?](?=\s+[A-Z`'\[{<*]|$)", text)
    text = (sentence[0] if sentence else text).removesuffix(".")
    return {"description": (text if len(text) <= 240 else text[:240].rsplit(" ", 1)[0] + " …").removesuffix(",") + "."}


def replace_type(schema: Schema, replacement: Schema) -> None:
    """Keep a setting's description and replace its type."""
    for key in set(schema) - {"description", "default"}:
        del schema[key]
    schema.update(replacement)


def section(description: str, properties: dict[str, Schema]) -> Schema:
    """Return the schema of a mapping with exactly these keys."""
    return {"description": description, "type": "object", "additionalProperties": False, "properties": properties}
