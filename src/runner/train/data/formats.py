"""The formats of training rows, and their conversion to what TRL takes.

==================  =========================================  ==========================================
format              columns                                    becomes
==================  =========================================  ==========================================
messages            ``messages``: role, content; ``tools``     a conversation
sharegpt            ``conversations``: from, value             a conversation
prompt_completion   ``prompt``, ``completion``: two strings    a pair of strings
                    …: two lists of messages                   a pair of messages
alpaca              ``instruction``, ``input``, ``output``     a pair of strings in Alpaca's own wording
text                ``text``                                   text
preference          ``prompt``, ``chosen``, ``rejected``       a prompt with two answers, strings or messages
prompt_only         ``prompt``, and any other                  a prompt, a string or messages, and the others
==================  =========================================  ==========================================

The loss is on the completion of a pair, and on all of a conversation or text (TRL's `completion_only_loss`,
`assistant_only_loss` and `dataset_text_field` change that). A mixture has one layout. Conversations and pairs of
messages mix, as conversations; Alpaca's rows join either as a user's and an assistant's turn, without the wording.
Nothing else mixes, since the model would then see something else than the data says.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from runner.recipe.recipe import Format

Row: TypeAlias = dict[str, Any]


class RowLayout(Enum):
    """The columns of every row of a mixture, as TRL takes them."""

    CONVERSATION = "conversations"
    """``messages`` and perhaps ``tools``."""
    MESSAGE_PAIR = "pairs of messages"
    """``prompt`` and ``completion``, lists of messages, and perhaps ``tools``."""
    PAIR = "pairs of strings"
    """``prompt`` and ``completion``, strings."""
    TEXT = "plain text"
    """``text``."""
    PREFERENCE = "preferences in strings"
    """``prompt``, ``chosen`` and ``rejected``, strings."""
    PREFERENCE_MESSAGES = "preferences in messages"
    """``prompt``, ``chosen`` and ``rejected``, lists of messages, and perhaps ``tools``."""
    PROMPT = "prompts in strings"
    """``prompt``, a string, and the columns for reward functions."""
    PROMPT_MESSAGES = "prompts in messages"
    """``prompt``, a list of messages, and the columns for reward functions."""

    @property
    def is_conversational(self) -> bool:
        """Whether rows go through the tokenizer's chat template."""
        return self in (
            RowLayout.CONVERSATION,
            RowLayout.MESSAGE_PAIR,
            RowLayout.PREFERENCE_MESSAGES,
            RowLayout.PROMPT_MESSAGES,
        )


class UnusableRow(Exception):
    """A row cannot be trained on. The message says why, in the same words for rows with the same fault."""


_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}

_PART_KINDS = {"text": None, "input_text": None, "output_text": None, "code": "python", "execution": "output"}
"""The kinds of content parts that are text, and the language of the fence around each, if it has one."""

# The wording of https://github.com/tatsu-lab/stanford_alpaca#data-release, to the letter. The line break at its end is
# part of the prompt, as in its successors: tokenizers that merge ":" and "\n" into one token then do so in both.
_ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


def natural_layout(name: Format, rows: Iterable[Mapping[str, Any]]) -> RowLayout:
    """Return the layout that rows of a format have on their own; the first prompt decides between text and messages."""
    if name == "text":
        return RowLayout.TEXT
    if name in ("messages", "sharegpt"):
        return RowLayout.CONVERSATION
    if name == "alpaca":
        return RowLayout.PAIR
    column = "chosen" if name == "preference" else "prompt"
    first = next((row[column] for row in rows if row[column] is not None), "")
    of_strings, of_messages = {
        "preference": (RowLayout.PREFERENCE, RowLayout.PREFERENCE_MESSAGES),
        "prompt_only": (RowLayout.PROMPT, RowLayout.PROMPT_MESSAGES),
    }.get(name, (RowLayout.PAIR, RowLayout.MESSAGE_PAIR))
    return of_strings if isinstance(first, str) else of_messages


def row_converter(name: Format, shape: RowLayout) -> Callable[[Mapping[str, Any]], Row]:
    """Return the function that turns a row of a format into one of layout `shape`, or raises `UnusableRow`."""
    if name == "text":
        return _text
    by_shape: dict[RowLayout, Callable[[Mapping[str, Any]], Row]] = {
        RowLayout.PREFERENCE: _string_preference,
        RowLayout.PREFERENCE_MESSAGES: _message_preference,
        RowLayout.PROMPT: lambda row: {**row, "prompt": _string(row, "prompt")},
        RowLayout.PROMPT_MESSAGES: lambda row: {**row, "prompt": _messages(row["prompt"])},
    }
    if shape in by_shape:
        return by_shape[shape]
    if name == "prompt_completion" and shape is RowLayout.PAIR:
        return _string_pair
    if name == "alpaca" and shape is RowLayout.PAIR:
        return _alpaca_pair
    if name == "alpaca":
        return _as_conversation(_alpaca_messages) if shape is RowLayout.CONVERSATION else _alpaca_messages
    if name == "prompt_completion":
        return _as_conversation(_message_pair) if shape is RowLayout.CONVERSATION else _message_pair
    return _conversation


def _conversation(row: Mapping[str, Any]) -> Row:
    messages = _messages(row["messages"] if "messages" in row else row["conversations"])
    if not any(_is_answer(message) for message in messages):
        raise UnusableRow("without an assistant's turn")
    return {"messages": messages, "tools": _tools(row)}


def _message_pair(row: Mapping[str, Any]) -> Row:
    prompt, completion = _messages(row["prompt"]), _messages(row["completion"])
    if not any(_is_answer(message) for message in completion):
        raise UnusableRow("without an assistant's turn in the completion")
    return {"prompt": prompt, "completion": completion, "tools": _tools(row)}


def _string_pair(row: Mapping[str, Any]) -> Row:
    return {"prompt": _string(row, "prompt", may_be_empty=True), "completion": _string(row, "completion")}


def _string_preference(row: Mapping[str, Any]) -> Row:
    if not isinstance(row.get("prompt"), str):
        raise UnusableRow("without a prompt")
    chosen, rejected = _string(row, "chosen"), _string(row, "rejected")
    if chosen == rejected:
        raise UnusableRow("whose two answers are the same")
    return {"prompt": row["prompt"], "chosen": chosen, "rejected": rejected}


def _message_preference(row: Mapping[str, Any]) -> Row:
    """Convert a row; if its prompt is not messages, the turns that both conversations begin with are the prompt."""
    chosen, rejected = _messages(row["chosen"]), _messages(row["rejected"])
    if isinstance(row.get("prompt"), Sequence) and not isinstance(row["prompt"], str):
        prompt = _messages(row["prompt"])
    else:
        turns = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
        prompt = [turn for turn, _ in turns]
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    if not prompt:
        raise UnusableRow("without a prompt")
    if chosen == rejected:
        raise UnusableRow("whose two answers are the same")
    if not (any(map(_is_answer, chosen)) and any(map(_is_answer, rejected))):
        raise UnusableRow("without an assistant's turn in both answers")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "tools": _tools(row)}


def _text(row: Mapping[str, Any]) -> Row:
    return {"text": _string(row, "text")}


def _alpaca_pair(row: Mapping[str, Any]) -> Row:
    instruction, further, output = _alpaca(row)
    wording = _ALPACA_WITH_INPUT if further else _ALPACA_WITHOUT_INPUT
    # Without leading white space, which would merge into one token with the line break before it.
    return {"prompt": wording.format(instruction=instruction, input=further), "completion": output.lstrip()}


def _alpaca_messages(row: Mapping[str, Any]) -> Row:
    instruction, further, output = _alpaca(row)
    request = f"{instruction}\n\n{further}" if further else instruction
    return {
        "prompt": [{"role": "user", "content": request}],
        "completion": [{"role": "assistant", "content": output}],
        "tools": None,
    }


def _alpaca(row: Mapping[str, Any]) -> tuple[str, str, str]:
    further = row.get("input")
    return _string(row, "instruction"), further.strip() if isinstance(further, str) else "", _string(row, "output")


def _as_conversation(convert: Callable[[Mapping[str, Any]], Row]) -> Callable[[Mapping[str, Any]], Row]:
    def join(row: Mapping[str, Any]) -> Row:
        pair = convert(row)
        return {"messages": [*pair["prompt"], *pair["completion"]], "tools": pair["tools"]}

    return join


def _messages(value: Any) -> list[Row]:
    """Return messages with role and content, from either spelling; other keys (``tool_calls``, …) stay if set."""
    if isinstance(value, str):
        value = _json(value)
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise UnusableRow("without messages")
    return [_message(item) for item in value]


def _message(item: Any) -> Row:
    if not isinstance(item, Mapping):
        raise UnusableRow("with a message that has no role and content")
    # Arrow adds the keys of other rows; templates that test `'tool_calls' in message` must not see them.
    message = {key: value for key, value in item.items() if value is not None}
    if "from" in message:
        message = {"role": message.pop("from"), "content": message.pop("value", None), **message}
    role = message.get("role")
    if not isinstance(role, str):
        raise UnusableRow("with a message that has no role")
    message["role"] = _ROLES.get(role.lower())
    if message["role"] is None:
        raise UnusableRow(f"with a message of an unknown role, {role!r}")
    content = message.get("content")
    if isinstance(content, list):
        content = message["content"] = _join_parts(content)
    if not isinstance(content, str) and "tool_calls" not in message:
        raise UnusableRow("with a message without content")
    message.setdefault("content", "")
    return message


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


def _is_answer(message: Row) -> bool:
    return message["role"] == "assistant" and bool(message["content"].strip() or message.get("tool_calls"))


def _tools(row: Mapping[str, Any]) -> Any:
    """Return the tools that a conversation may call, without the empty keys that Arrow adds; None if there are none."""
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = _json(tools) if tools.strip() else None
    return _without_nulls(tools) or None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _string(row: Mapping[str, Any], column: str, *, may_be_empty: bool = False) -> str:
    value = row[column]
    if not isinstance(value, str):
        raise UnusableRow(f"without {column}" if value is None else f"whose {column} is not text")
    if not (may_be_empty or value.strip()):
        raise UnusableRow(f"with empty {column}")
    return value


def _json(text: str) -> Any:
    """Parse messages or tools from a JSON string, as CSV and some Parquet files have them."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnusableRow("with messages or tools that are neither a list nor JSON") from error
