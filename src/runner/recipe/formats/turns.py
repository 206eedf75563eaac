"""Turns of a conversation: whose they are, what they say, and which are marked as not to be learned.

Both spellings are read: ``role`` and ``content`` (OpenAI), ``from`` and ``value`` (ShareGPT). Other keys of a turn
(``tool_calls``, ``reasoning_content``, …) stay as they are, for the chat template.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from runner.recipe.formats.layouts import Row, UnusableRow
from runner.recipe.formats.tools import calls_from_text, calls_of, parse_json
from runner.recipe.suggestions import closest

ROLES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}
"""The roles that chat templates know, by the names that datasets give to speakers."""

_CALLS = ("function_call", "tool_call")
"""Speakers whose turn is a call of a tool, as JSON."""

MARKS = ("weight", "train", "training", "loss")
"""Keys that say whether a turn is to be learned: OpenAI's, Axolotl's two, ms-swift's."""

_YES_NO: Mapping[Any, bool] = {1: True, 0: False, "1": True, "0": False, "true": True, "false": False}

_PART_KINDS = {"text": None, "input_text": None, "output_text": None, "code": "python", "execution": "output"}
"""The kinds of content parts that are text, and the language of the fence around each, if it has one."""


def read_turns(value: Any, *, from_structs: bool = False) -> tuple[list[Row], list[bool | None]]:
    """Return messages with role and content, and for each whether it is to be learned; None: it is not marked.

    Args:
        value: a list of turns, one turn alone, or either in JSON.
        from_structs: whether Arrow may have added keys to what is in a turn.

    Raises:
        UnusableRow: they are not turns with a known role and text.
    """
    if isinstance(value, str):
        value, from_structs = parse_json(value), False
    value = [value] if isinstance(value, Mapping) else value
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise UnusableRow("without messages")
    messages = [_message(item, from_structs) for item in value]
    return messages, [_learned(message) for message in messages]


def read_messages(value: Any, *, from_structs: bool = False) -> list[Row]:
    """Return messages as `read_turns` does, where marks have no meaning: in a prompt."""
    return read_turns(value, from_structs=from_structs)[0]


def is_turns(value: Any) -> bool:
    """Whether a value looks like one or more turns: objects with a role, or a speaker, and what is said."""
    turns = [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns or not isinstance(turns[0], Mapping):
        return False
    return bool({"role", "from"} & set(turns[0])) and bool({"content", "value", "tool_calls"} & set(turns[0]))


def role_of(speaker: Any) -> str:
    """Return the role that chat templates know, whatever its case and the space around it.

    Raises:
        UnusableRow: there is no such role.
    """
    if not isinstance(speaker, str):
        raise UnusableRow("with a message that has no role")
    role = ROLES.get(speaker) or ROLES.get(speaker.strip().lower())
    if role is None:
        meant = closest(speaker.strip().lower(), ROLES, likeness=0.75)
        hint = f" (did you mean {meant!r}?)" if meant else ""
        raise UnusableRow(f"with a message of an unknown role, {speaker!r}{hint}")
    return role


def with_system(messages: list[Row], system: Any) -> list[Row]:
    """Return messages that begin with the row's column ``system``, unless they have a system turn of their own.

    Raises:
        UnusableRow: the column is not text.
    """
    if system is not None and not isinstance(system, str):
        raise UnusableRow("whose system is not text")
    if system is None or not system.strip():
        return messages
    if messages and messages[0]["role"] in ("system", "developer"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def is_answer(message: Row) -> bool:
    """Whether a message is something that a model could learn to say."""
    return message["role"] == "assistant" and bool(message["content"].strip() or message.get("tool_calls"))


def chosen_turns(messages: Sequence[Row], learned: list[bool | None], turns: str) -> list[bool | None]:
    """Return for each message whether it is to be learned, where not all of the assistant's turns are.

    Args:
        messages: the conversation.
        learned: what their marks say.
        turns: ``all``, ``last`` or ``marked``.
    """
    answers = [place for place, message in enumerate(messages) if is_answer(message)]
    if turns == "all" or not answers:
        return learned
    if turns == "last":
        return [False if place in answers[:-1] else mark for place, mark in enumerate(learned)]
    return [bool(mark) if place in answers else mark for place, mark in enumerate(learned)]


def answers_to_learn(
    messages: list[Row], learned: Sequence[bool | None], *, assistant_only: bool
) -> list[tuple[list[Row], list[Row]]]:
    """Return prompts and completions that together leave out the turns that are marked as not to be learned.

    Each run of turns without such a mark becomes one completion, from its first answer to its last. What comes before
    is its prompt.

    Args:
        messages: the conversation.
        learned: for each, whether it is to be learned.
        assistant_only: whether the loss is on the assistant's turns alone, so that marks of others have no effect.
    """
    pairs: list[tuple[list[Row], list[Row]]] = []
    start = end = 0
    for index, message in enumerate([*messages, None]):
        if message is not None and (learned[index] is not False or (assistant_only and message["role"] != "assistant")):
            end = index + 1
            continue
        answers = [place for place in range(start, end) if is_answer(messages[place])]
        if answers:
            pairs.append((messages[: answers[0]], messages[answers[0] : answers[-1] + 1]))
        start = end = index + 1
    return pairs


def _message(item: Any, from_structs: bool) -> Row:
    if not isinstance(item, Mapping):
        raise UnusableRow("with a message that has no role and content")
    # Arrow adds the keys of other rows; templates that test `'tool_calls' in message` must not see them.
    message = {key: value for key, value in item.items() if value is not None}
    if "from" in message:
        message = {"role": message.pop("from"), "content": message.pop("value", None), **message}
    speaker = message.get("role")
    message["role"] = role_of(speaker)
    if message["role"] == "assistant" and str(speaker).strip().lower() in _CALLS:
        message = {**message, "content": "", "tool_calls": calls_from_text(message.get("content"))}
    elif isinstance(message.get("function_call"), Mapping):  # OpenAI's form before there were several calls
        message = {**message, "tool_calls": calls_from_text(message["function_call"])}
        del message["function_call"]
    elif "tool_calls" in message:
        message["tool_calls"] = calls_of(message["tool_calls"], from_structs=from_structs)
    content = message.get("content")
    if isinstance(content, list):
        content = message["content"] = _join_parts(content)
    if not isinstance(content, str) and "tool_calls" not in message:
        raise UnusableRow("with a message without content")
    if content is None:
        message["content"] = ""
    return message


def _learned(message: Row) -> bool | None:
    """Take the marks out of a message; return what they say."""
    learned: bool | None = None
    for key in MARKS:
        if key not in message or (key == "loss" and not isinstance(message[key], bool)):  # a loss that was measured
            continue
        value = message.pop(key)
        known = _YES_NO.get(value.strip().lower() if isinstance(value, str) else value) if _is_plain(value) else None
        if known is None:
            raise UnusableRow(f"with a turn whose {key} is {value!r}, which says neither yes nor no (0 or 1)")
        learned = known if learned is None else learned and known
    return learned


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _join_parts(parts: list[Any]) -> str:
    """Join content parts (OpenAI's, and those with code and its output, each in a fence) to one string."""
    texts = []
    for part in parts:
        text = (part.get("text") or part.get("content") or "") if isinstance(part, Mapping) else None
        kind = part.get("type", "text") if isinstance(part, Mapping) else None
        if not isinstance(text, str) or kind not in _PART_KINDS:
            raise UnusableRow("with content other than text (images, audio)")
        fence = _PART_KINDS[kind]
        texts.append(text if fence is None else f"\n```{fence}\n{text.strip()}\n```\n")
    return "".join(texts)
