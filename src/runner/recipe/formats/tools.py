"""Tools that a conversation may call, and the calls in its turns, in the form that chat templates take.

A call's arguments are an object. OpenAI writes them as JSON in a string, which templates that write JSON themselves
would quote a second time.

Arrow gives every object of a column the keys of all others, with null as their value. Only what comes from such structs
(Parquet, `datasets`) is rid of nulls here; a null that a JSON file holds is its author's.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from runner.recipe.formats.layouts import Row, UnusableRow


def parse_json(text: str, what: str = "messages or tools") -> Any:
    """Parse what CSV, and some Parquet files, hold as JSON in a string.

    Raises:
        UnusableRow: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableRow(f"with {what} that are neither a list nor JSON") from error


def tools_of(row: Mapping[str, Any], *, from_structs: bool = False) -> Any:
    """Return the tools that a row's conversation may call; None if there are none.

    Args:
        row: the row; its column ``tools`` is a list, or JSON.
        from_structs: whether Arrow may have added keys.

    Raises:
        UnusableRow: the tools are neither a list nor JSON.
    """
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = parse_json(tools) if tools.strip() else None
    elif from_structs:
        tools = without_nulls(tools)
    if isinstance(tools, Mapping):
        tools = [tools]
    if not tools:
        return None
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise UnusableRow("with messages or tools that are neither a list nor JSON")
    return [parse_json(tool) if isinstance(tool, str) else tool for tool in tools]


def without_nulls(value: Any) -> Any:
    """Return a value without the keys whose value is null, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def calls_from_text(text: Any) -> list[Row]:
    """Return the calls that the turn of a `function_call` holds: JSON with ``name`` and ``arguments``, one or a list.

    Raises:
        UnusableRow: it holds none.
    """
    try:
        calls = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        calls = None
    calls = [calls] if isinstance(calls, Mapping) else calls
    if not isinstance(calls, list) or not calls:
        raise UnusableRow("with a function call that is not JSON with a name and arguments")
    read = [_call(call, from_structs=False) for call in calls]
    return [
        call if "function" in call else {"type": "function", "function": {"arguments": {}, **call}} for call in read
    ]


def calls_of(calls: Any, *, from_structs: bool) -> list[Row]:
    """Return a turn's ``tool_calls`` with each call's arguments as an object.

    Args:
        calls: a list, or JSON.
        from_structs: whether Arrow may have added keys.

    Raises:
        UnusableRow: they are not calls.
    """
    if isinstance(calls, str):
        calls, from_structs = parse_json(calls, "tool calls"), False
    if not isinstance(calls, Sequence):
        raise UnusableRow("with tool calls that are neither a list nor JSON")
    return [_call(call, from_structs=from_structs) for call in calls]


def _call(call: Any, *, from_structs: bool) -> Row:
    """Return a call in the spelling that it has, flat or below ``function``, with its arguments as an object."""
    if not isinstance(call, Mapping):
        raise UnusableRow("with a tool call that has no name and arguments")
    made = {key: value for key, value in call.items() if not (from_structs and value is None)}
    if isinstance(made.get("function"), Mapping):
        function = {key: value for key, value in made["function"].items() if not (from_structs and value is None)}
        return {**made, "function": _with_arguments(function, from_structs)}
    return _with_arguments(made, from_structs)


def _with_arguments(function: Row, from_structs: bool) -> Row:
    if not isinstance(function.get("name"), str):
        raise UnusableRow("with a tool call that has no name and arguments")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return {**function, "arguments": _arguments_from_text(arguments)}
    if from_structs and arguments is not None:
        return {**function, "arguments": without_nulls(arguments)}
    return function


def _arguments_from_text(text: str) -> Any:
    try:
        arguments = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        arguments = None
    if arguments is None or not isinstance(arguments, dict):
        raise UnusableRow("with tool arguments that are not a JSON object")
    return arguments
