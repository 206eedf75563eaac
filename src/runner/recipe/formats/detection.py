"""The formats of training rows, and how one is recognized.

==================  =========================================  ==========================================
format              columns                                    becomes
==================  =========================================  ==========================================
messages            ``messages``: role, content                a conversation
sharegpt            ``conversations``: from, value             a conversation
prompt_completion   ``prompt``, ``completion``: two strings    a pair of strings
                    …: two lists of messages                   a pair of messages
alpaca              ``instruction``, ``input``, ``output``     a pair of messages, if the model has a chat template
                    … and ``system`` or ``history``            a pair of messages
stanford_alpaca     the same                                   a pair of strings in Alpaca's own wording
text                ``text``                                   text
preference          ``prompt``, ``chosen``, ``rejected``       a prompt with two answers, strings or messages
prompt_only         ``prompt``, and any other                  a prompt, a string or messages, and the others
==================  =========================================  ==========================================

Rows with messages may also have ``tools``, ``system`` and ``chat_template_kwargs``.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from runner.recipe.formats.alpaca import ALPACA
from runner.recipe.formats.layouts import RowLayout
from runner.recipe.formats.turns import is_turns
from runner.recipe.recipe import Format, Method

COLUMNS: Mapping[Format, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "stanford_alpaca": ("instruction", "output"),
    "text": ("text",),
    "preference": ("chosen", "rejected"),
    "prompt_only": ("prompt",),
}
"""The columns that each format requires."""

FORMATS: Mapping[Method, tuple[Format, ...]] = {
    "sft": ("messages", "prompt_completion", "sharegpt", "alpaca", "stanford_alpaca", "text"),
    "cpt": ("text",),
    "dpo": ("preference",),
    "grpo": ("prompt_only",),
}
"""The formats that each method trains on, in the order of detection."""

OF_TURNS: tuple[Format, ...] = ("messages", "sharegpt")
"""The formats with conversations."""


def detect_format(row: Mapping[str, Any], method: Method = "sft") -> Format | None:
    """Return the first format of a method whose columns a row has, richer formats first; None if there is none."""
    if "messages" in FORMATS[method]:
        if "messages" in row:
            return "sharegpt" if turns_have(row["messages"], "from") else "messages"
        if "conversations" in row:
            return "messages" if turns_have(row["conversations"], "role") else "sharegpt"
    for name in FORMATS[method]:
        if all(column in row for column in COLUMNS[name]):
            return name
    return None


def describe_formats(method: Method) -> str:
    """List the formats of a method with their columns, for errors."""
    return "; ".join(f"{name}: {', '.join(COLUMNS[name])}" for name in FORMATS[method] if name != "stanford_alpaca")


def natural_layout(name: Format, rows: Iterable[Mapping[str, Any]]) -> RowLayout:
    """Return the layout that rows of a format have on their own; the first prompt decides between text and messages."""
    if name == "text":
        return RowLayout.TEXT
    if name in OF_TURNS:
        return RowLayout.CONVERSATION
    if name in ALPACA:
        return RowLayout.MESSAGE_PAIR if name == "alpaca" else RowLayout.PAIR
    column = "chosen" if name == "preference" else "prompt"
    values = (row.get(column) for row in rows)
    first = next((value for value in values if isinstance(value, str | list) or is_turns(value)), "")
    of_strings, of_messages = {
        "preference": (RowLayout.PREFERENCE, RowLayout.PREFERENCE_MESSAGES),
        "prompt_only": (RowLayout.PROMPT, RowLayout.PROMPT_MESSAGES),
    }.get(name, (RowLayout.PAIR, RowLayout.MESSAGE_PAIR))
    return of_strings if isinstance(first, str) else of_messages


def turns_have(value: Any, key: str) -> bool:
    """Whether a conversation's first turn has `key`; CSV files hold conversations as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and key in value[0]
