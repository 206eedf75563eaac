"""The recipe's JSON Schema, and the check of a recipe against it, with errors in plain words.

``tools/generate_schema.py`` generates the schema from the pinned libraries' own classes; it ships beside this module.
`jsonschema_rs` does the check and is imported with the first one.
"""

import functools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.suggestions import closest, remedy_for_unknown

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

SCHEMA_FILE = pathlib.Path(__file__).with_name("recipe.schema.json")

Schema = Mapping[str, Any]

_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
}
_TRUE, _FALSE = ("yes", "on", "y", "1"), ("no", "off", "n", "0")
_METHODS_TO_COME = ("kto", "orpo", "ppo", "reward", "rloo", "distillation")


@functools.cache
def published_schema() -> dict[str, Any]:
    """Return the schema of all recipes, as editors use it. Shared: do not modify it."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_bytes())
    return schema


@functools.cache
def methods() -> Mapping[str, Schema]:
    """Return each method's schema of `training`, with all references resolved."""
    published = published_schema()
    return {
        condition["if"]["properties"]["method"]["const"]: _resolve_references(
            condition["then"]["properties"]["training"], published["$defs"]
        )
        for condition in published["$defs"]["methods"]["allOf"]
    }


@functools.cache
def recipe_schema(method: str | None = None) -> dict[str, Any]:
    """Return the schema of recipes of one method, without stages and conditions. Shared: do not modify it.

    Args:
        method: None or an unknown one accepts every method's settings; the first method's definition of a setting wins.
    """
    published = published_schema()
    whole = {key: value for key, value in published.items() if key not in ("allOf", "$defs", "if", "then", "else")}
    training = methods().get(method or "")
    if training is None:
        properties = {
            name: part for section in reversed(list(methods().values())) for name, part in section["properties"].items()
        }
        training = {**next(iter(methods().values())), "properties": properties}
    description = whole["properties"]["training"]["description"]
    stages = whole["properties"]["stages"]
    model = {key: value for key, value in whole["properties"]["model"].items() if key != "anyOf"}
    properties = {
        **whole["properties"],
        # A run that the recipe starts from has been replaced by what it was trained from.
        "model": {**model, "required": ["model_name_or_path"]},
        "data": {**whole["properties"]["data"], **published["else"]["properties"]["data"]},
        "training": {**training, "description": description},
        "stages": {**stages, "items": {key: value for key, value in stages["items"].items() if key != "allOf"}},
    }
    return {**whole, "required": [*published["else"]["required"], *whole["required"]], "properties": properties}


_LARGEST = 2**63


def _resolve_references(section: Schema, definitions: Mapping[str, Schema]) -> dict[str, Any]:
    """Return a section with its reference resolved; where both describe a setting, the section's own words win."""
    reference = section.get("$ref")
    if reference is None:
        return dict(section)
    base = _resolve_references(definitions[reference.removeprefix("#/$defs/")], definitions)
    known = base["properties"]
    own = {
        name: {**known.get(name, {}), **({} if part is True else part)}
        for name, part in section.get("properties", {}).items()
    }
    rest = {key: value for key, value in section.items() if key not in ("$ref", "properties")}
    return {**base, **rest, "properties": {**known, **own}}


@functools.cache
def _validator(method: str | None) -> "Draft202012Validator":
    from jsonschema_rs import Draft202012Validator

    return Draft202012Validator(recipe_schema(method))


def check(data: Mapping[str, Json]) -> list[Problem]:
    """Return what is wrong with `data` by the schema, in the order of its keys."""
    written = data.get("method")
    method = written if isinstance(written, str) else None
    schema = recipe_schema(method)
    unwritable = [Problem(path, "half of a character is missing", "write UTF-8") for path in _unwritable(data)]
    if unwritable:
        return unwritable
    if too_large := list(_too_large(data)):
        return too_large
    problems: dict[tuple[RecipePath, str], Problem] = {}
    for error in _validator(method).iter_errors(data):
        for problem in _explain(error, data, schema, method):
            problems.setdefault((problem.path, problem.what), problem)
    return list(problems.values()) or list(_too_large(normalize(data, schema)))


def normalize(value: Json, schema: Schema) -> Json:
    """Return `value` with floats converted where only integers are allowed: JSON Schema accepts ``60.0`` for one."""
    if isinstance(value, float) and "integer" in _types(schema) and "number" not in _types(schema):
        return int(value)
    if isinstance(value, dict):
        others = schema.get("additionalProperties")
        others = others if isinstance(others, Mapping) else {}
        properties = schema.get("properties", {})
        return {key: normalize(item, properties.get(key, others)) for key, item in value.items()}
    if isinstance(value, list):
        return [normalize(item, schema.get("items", {})) for item in value]
    return value


def _explain(error: Any, data: Mapping[str, Json], whole: Schema, method: str | None) -> Iterator[Problem]:
    path: RecipePath = tuple(error.instance_path)
    *place, rule = error.schema_path
    value, schema = _at(data, path), _at(whole, place)
    limit = schema[rule]
    match rule:
        case "additionalProperties":
            known = schema.get("properties", {})
            for key in value:
                if key in known:
                    continue
                elsewhere = _methods_with(key) if path == ("training",) else []
                if elsewhere:
                    remedy = f"leave it out, or write `method: {elsewhere[0]}`"
                    yield Problem(
                        (*path, key), f"it is a setting of {' and '.join(elsewhere)}, not of {method}", remedy
                    )
                else:
                    remedy = remedy_for_unknown((*path, key), known, whole, value[key])
                    yield Problem((*path, key), f"there is no such setting (it is {show(value[key])})", remedy)
        case "required":
            for key in limit:
                if key not in value:
                    yield Problem(path, f"`{key}` is missing", _remedy_for_missing(path, key))
        case "type":
            yield Problem(
                path, f"{_kinds(schema)} expected, not {_describe(value)}", _remedy_for_type(path, value, schema)
            )
        case "enum" | "anyOf":
            yield _choice(path, value, schema)
        case "pattern" if path == ("name",):
            what = f"{show(value)} cannot name a run"
            yield Problem(
                path, what, "write lower-case letters, digits, `.`, `_` and `-`, at most 100, a letter or digit first"
            )
        case "minItems" | "minProperties" | "minLength":
            entries = None if rule == "minLength" else "write at least one entry"
            yield Problem(path, f"{show(value)} is not enough", entries)
        case _ if rule in _BOUNDS:
            yield Problem(path, f"{show(value)} is out of bounds", f"write a number {_bounds(schema)}")
        case _:
            yield Problem(path, str(error.message))


def _too_large(value: Json, path: RecipePath = ()) -> Iterator[Problem]:
    """Yield a problem for each whole number that nothing which reads a recipe can count to."""
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        yield Problem(path, "does not fit into 64 bits", "write a smaller number")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _too_large(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _too_large(item, (*path, index))


def _unwritable(value: Json, path: RecipePath = ()) -> Iterator[RecipePath]:
    """Yield the paths of text that UTF-8 cannot encode: a shell argument can contain any bytes."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unwritable(key, path)
            yield from _unwritable(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unwritable(item, (*path, index))


def _at(value: Any, path: Iterable[str | int]) -> Any:
    """Return the value at `path` in a recipe or a schema."""
    for key in path:
        value = value[key]
    return value


def _methods_with(key: str) -> list[str]:
    """Return the methods whose `training` has this setting."""
    return [method for method, training in methods().items() if key in training["properties"]]


def _choice(path: RecipePath, value: Json, schema: Schema) -> Problem:
    choices = _choices(schema)
    texts = [choice for choice in choices if isinstance(choice, str)]
    if path == ("method",) and value in _METHODS_TO_COME:
        return Problem(path, f"`{value}` is not supported yet", f"methods so far: {', '.join(texts)}")
    if isinstance(value, list) and value:
        value = next((item for item in value if item not in choices), value)
    meant = closest(value.lower(), texts) if isinstance(value, str) else None
    names = _names_in_text(value)
    if names and any("array" in _types(part) for part in schema.get("anyOf", ())):
        return Problem(path, f"{show(value)} is one text, not a list", f"write a list: [{', '.join(names)}]")
    listed, few = ", ".join(map(_plain, choices)), len(choices) <= 6
    if meant:
        remedy = f"did you mean `{meant}`?" + (f" choices: {listed}" if path[:2] == ("export", "gguf") else "")
    elif value is False and "no" in texts:
        remedy = "write `no`, with or without quotes" + ("" if few else f"; choices: {listed}")
    elif True in choices and str(value).lower() in (*_TRUE, *_FALSE):
        remedy = "write true or false" + ("" if few else f"; choices: {listed}")
    else:
        remedy = "write one of them" if few else f"choices: {listed}"
    return Problem(path, f"{show(value)} is not one of {listed if few else 'the choices'}", remedy)


def _names_in_text(value: Json) -> list[str]:
    """Return the names in a text that was meant as a list: ``a, b`` or ``[a, b]``; none if it is one name."""
    if not isinstance(value, str) or not ("," in value or value.lstrip().startswith("[")):
        return []
    return [name for part in value.strip().strip("[]").split(",") if (name := part.strip().strip("'\""))]


def _choices(schema: Schema) -> list[Json]:
    """Return every value of an enumeration, or of a choice between enumerations."""
    choices: list[Json] = list(schema.get("enum", ()))
    for part in schema.get("anyOf", ()):
        choices += [choice for choice in _choices(part) if choice not in choices]
    return choices


def _remedy_for_type(path: RecipePath, value: Json, schema: Schema) -> str | None:
    types = _types(schema)
    remedy = None
    if value is None:
        remedy = "write something there, or leave the line out"
    elif isinstance(value, str) and "boolean" in types and value.lower() in (*_TRUE, *_FALSE):
        remedy = f"write {'true' if value.lower() in _TRUE else 'false'}: in YAML 1.2 `{value}` is text"
    elif isinstance(value, str) and types & {"integer", "number"} and (number := _number(value)) is not None:
        remedy = f"write {number}, as plain digits without quotes"
    elif isinstance(value, int | float) and "boolean" in types and value in (0, 1):
        remedy = f"write {'true' if value else 'false'}"
    elif "string" in types and isinstance(value, int | float):
        remedy = f'put quotes around it: "{_plain(value)}"'
    elif "array" in types and (required := schema.get("items", {}).get("required")):
        remedy = f"write a list of entries: `[{{{required[0]}: …}}]`"
    elif "array" in types and isinstance(value, str | int | float):
        remedy = f"write a list: [{', '.join(_names_in_text(value)) or _plain(value)}]"
    elif "path" in schema.get("properties", {}) and isinstance(value, str):
        remedy = f"write `path: {value}`"
    elif path == ("adapter",):
        remedy = "write `adapter: {r: 16, target_modules: all-linear}`; `load_in_4bit: true` under `model:` for QLoRA"
    elif "object" in types:
        remedy = "write `key: value` lines below it"
    if "default" in schema and not isinstance(schema["default"], list | dict):
        default = f"the default is {_plain(schema['default'])}"
        remedy = f"{remedy}; {default}" if remedy else default
    return remedy


def _remedy_for_missing(path: RecipePath, key: str) -> str:
    remedies = {
        "method": "write `method: sft`, or another: cpt, dpo, grpo",
        "model": "write `model: {model_name_or_path: …}`",
        "model_name_or_path": "write a model of the hub, a folder, or `builtin:tiny-llama`",
        "data": "write `data: {train: [{path: …}]}`",
        "train": "write `train: [{path: …}]`",
        "path": "write a dataset of the hub, a file, a folder, or `builtin:python-docstrings`",
        "from_train": "write `from_train: 0.1`, or a list of entries like `train`'s",
    }
    return remedies.get(key, f"write `{key}:`")


def _number(text: str) -> int | float | None:
    digits = text.strip().replace("_", "").replace(",", "")
    try:
        return int(digits)
    except ValueError:
        pass
    try:
        return float(digits)
    except ValueError:
        return None


def _types(schema: Schema) -> set[str]:
    types = schema.get("type", ())
    return {types} if isinstance(types, str) else set(types)


def _kinds(schema: Schema) -> str:
    types = schema["type"]
    names = (
        [types] if isinstance(types, str) else [name for name in types if name != "integer" or "number" not in types]
    )
    return " or ".join(_KINDS[name] for name in sorted(names, key=lambda name: name == "null"))


def _bounds(schema: Schema) -> str:
    return " and ".join(words.format(schema[rule]) for rule, words in _BOUNDS.items() if rule in schema)


def _describe(value: Json) -> str:
    if isinstance(value, str) and value:
        return f"the text {show(value)}"
    if isinstance(value, bool):
        return show(value)
    if isinstance(value, int | float):
        return f"the number {value}"
    return show(value) if value is not None else "nothing (null)"


def _plain(value: Json) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
