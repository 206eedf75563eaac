"""Convert a row of a format to the columns of a layout, which TRL takes."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from runner.recipe.formats.alpaca import ALPACA, alpaca_messages, alpaca_pair, pair_in_messages, text_of
from runner.recipe.formats.layouts import NeedsPairs, Row, RowLayout, UnusableRow
from runner.recipe.formats.tools import parse_json, tools_of, without_nulls
from runner.recipe.formats.turns import (
    answers_to_learn,
    chosen_turns,
    is_answer,
    read_messages,
    read_turns,
    with_system,
)
from runner.recipe.recipe import Format
from runner.recipe.rows.numbers import written_text

Converter: TypeAlias = Callable[[Mapping[str, Any]], list[Row]]
"""Makes rows of a layout, nearly always one. Raises `UnusableRow`, or `NeedsPairs` if the layout cannot hold it."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What the conversion of a row depends on besides its format and layout."""

    assistant_only: bool = False
    """Whether the loss is on the assistant's turns alone (`training.assistant_only_loss`)."""
    turns: str = "all"
    """Which of the assistant's turns are learned: ``all``, ``last``, or ``marked`` (`training.train_on_turns`)."""
    last_answer_only: bool = False
    """Whether only a conversation's last answer is learned (`think`), so that marks of other turns have no effect."""
    numbers: bool = True
    """Whether numbers and truth values are read where a format has text, as they are written."""
    structs: frozenset[str] = frozenset()
    """Columns that are Arrow's structs, which hold nulls for the keys of other rows."""


def row_converter(name: Format, layout: RowLayout, conversion: Conversion | None = None) -> Converter:
    """Return the function that turns a row of a format into rows of `layout`."""
    return _Converter(name, layout, conversion or Conversion()).convert


class _Converter:
    """The conversion of one format's rows to one layout."""

    def __init__(self, name: Format, layout: RowLayout, conversion: Conversion) -> None:
        self._name = name
        self._layout = layout
        self._conversion = conversion
        self._convert = self._method()

    def convert(self, row: Mapping[str, Any]) -> list[Row]:
        """Return the rows that a row becomes."""
        if self._conversion.numbers:
            row = _numbers_as_text(row)
        made = self._convert(row)
        rows = made if isinstance(made, list) else [made]
        if self._layout.is_conversational and row.get("chat_template_kwargs") is not None:
            arguments = _template_arguments(row["chat_template_kwargs"], self._from_structs("chat_template_kwargs"))
            rows = [{**made, "chat_template_kwargs": arguments} for made in rows]
        return rows

    def _method(self) -> Callable[[Mapping[str, Any]], Row | list[Row]]:
        layout, name = self._layout, self._name
        if name == "text":
            return lambda row: {"text": text_of(row, "text")}
        if name == "stanford_alpaca" and layout is RowLayout.PAIR:
            return alpaca_pair
        if name in ALPACA:
            as_messages = alpaca_messages if name == "alpaca" else pair_in_messages
            return as_messages if layout is RowLayout.MESSAGE_PAIR else _joined(as_messages)
        if name == "prompt_completion":
            if layout is RowLayout.PAIR:
                return _string_pair
            return self._message_pair if layout is RowLayout.MESSAGE_PAIR else self._joined_pair
        by_layout: dict[RowLayout, Callable[[Mapping[str, Any]], Row | list[Row]]] = {
            RowLayout.PREFERENCE: _string_preference,
            RowLayout.PREFERENCE_MESSAGES: self._message_preference,
            RowLayout.PROMPT: lambda row: {**row, "prompt": text_of(row, "prompt")},
            RowLayout.PROMPT_MESSAGES: lambda row: {**row, "prompt": self._prompt(row)},
            RowLayout.CONVERSATION: self._conversation,
            RowLayout.MESSAGE_PAIR: self._conversation_pairs,
        }
        return by_layout[layout]

    def _from_structs(self, column: str) -> bool:
        return column in self._conversion.structs

    def _turns(self, row: Mapping[str, Any], column: str) -> tuple[list[Row], list[bool | None]]:
        messages, learned = read_turns(row.get(column), from_structs=self._from_structs(column))
        return messages, chosen_turns(messages, learned, self._conversion.turns)

    def _tools(self, row: Mapping[str, Any]) -> Any:
        return tools_of(row, from_structs=self._from_structs("tools"))

    def _conversation(self, row: Mapping[str, Any]) -> Row:
        messages, learned = self._turns(row, _column_of_turns(row))
        if not any(is_answer(message) for message in messages):
            raise UnusableRow("without an assistant's turn")
        self._require_no_marks(messages, learned)
        return {"messages": with_system(messages, row.get("system")), "tools": self._tools(row)}

    def _conversation_pairs(self, row: Mapping[str, Any]) -> list[Row]:
        messages, learned = self._turns(row, _column_of_turns(row))
        if not any(is_answer(message) for message in messages):
            raise UnusableRow("without an assistant's turn")
        return self._pairs(row, [], messages, learned)

    def _pairs(
        self, row: Mapping[str, Any], prompt: list[Row], messages: list[Row], learned: list[bool | None]
    ) -> list[Row]:
        pairs = answers_to_learn(messages, learned, assistant_only=self._conversion.assistant_only)
        if not pairs:
            raise UnusableRow("whose answers are all marked as not to be learned")
        tools = self._tools(row)
        made = [
            {"prompt": with_system([*prompt, *before], row.get("system")), "completion": completion, "tools": tools}
            for before, completion in pairs
        ]
        if not made[0]["prompt"]:
            raise UnusableRow("without a prompt")
        return made

    def _require_no_marks(self, messages: list[Row], learned: Sequence[bool | None]) -> None:
        only = self._conversion.assistant_only
        if self._conversion.last_answer_only:
            last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
            if learned[last] is False:
                raise UnusableRow("whose last answer is marked as not to be learned")
            return
        if any(
            mark is False and (message["role"] == "assistant" or not only)
            for message, mark in zip(messages, learned, strict=True)
        ):
            raise NeedsPairs(_KEPT_OUT[self._conversion.turns], keeps_out=True)

    def _message_pair(self, row: Mapping[str, Any]) -> Row | list[Row]:
        if isinstance(row.get("prompt"), str) and not _is_json_list(row["prompt"]):
            pair = _string_pair(row)
            return _pair_of_turns(row, pair["prompt"], pair["completion"])
        prompt = read_messages(row.get("prompt"), from_structs=self._from_structs("prompt"))
        completion, learned = self._turns(row, "completion")
        if not any(is_answer(message) for message in completion):
            raise UnusableRow("without an assistant's turn in the completion")
        if False in learned:
            return self._pairs(row, prompt, completion, learned)
        return {
            "prompt": with_system(prompt, row.get("system")),
            "completion": completion,
            "tools": self._tools(row),
        }

    def _joined_pair(self, row: Mapping[str, Any]) -> Row:
        if isinstance(row.get("prompt"), Sequence) and not isinstance(row["prompt"], str):
            if self._conversion.turns != "all":
                raise NeedsPairs(_KEPT_OUT[self._conversion.turns], keeps_out=True)
            prompt, before = self._turns(row, "prompt")
            completion, learned = self._turns(row, "completion")
            self._require_no_marks([*prompt, *completion], [*before, *learned])
        pair = self._message_pair(row)
        assert isinstance(pair, dict), "marks were refused above"
        return {"messages": [*pair["prompt"], *pair["completion"]], "tools": pair["tools"]}

    def _message_preference(self, row: Mapping[str, Any]) -> Row:
        """Convert a row; if its prompt is not messages, the turns that both answers begin with are the prompt."""
        if isinstance(row.get("chosen"), str) and not _is_json_list(row["chosen"]):
            strings = _string_preference(row)
            if not strings["prompt"].strip():
                raise UnusableRow("without a prompt")
            prompt = [{"role": "user", "content": strings["prompt"]}]
            answers = {key: [{"role": "assistant", "content": strings[key]}] for key in ("chosen", "rejected")}
            return {"prompt": with_system(prompt, row.get("system")), **answers, "tools": self._tools(row)}
        (chosen, learned), (rejected, also_learned) = self._turns(row, "chosen"), self._turns(row, "rejected")
        written = row.get("prompt")
        if isinstance(written, str) and not _is_json_list(written):
            written = [{"role": "user", "content": written}] if written.strip() else None
            if any(turns[0]["role"] != "assistant" for turns in (chosen, rejected)):
                written = None  # both begin with it
        if not written and all(turns[0]["role"] == "assistant" for turns in (chosen, rejected)):
            # Axolotl's and LLaMA-Factory's form: the conversation, and its two next turns.
            written = row.get(_column_of_turns(row))
        if written:
            prompt = read_messages(written, from_structs=self._from_structs("prompt"))
        else:
            turns = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
            prompt = [turn for turn, _ in turns]
            chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
            learned, also_learned = learned[len(prompt) :], also_learned[len(prompt) :]
        if not prompt:
            raise UnusableRow("without a prompt")
        if chosen == rejected:
            raise UnusableRow("whose two answers are the same")
        if not (any(map(is_answer, chosen)) and any(map(is_answer, rejected))):
            raise UnusableRow("without an assistant's turn in both answers")
        if False in learned or False in also_learned:
            raise UnusableRow("with a turn that is marked as not to be learned in an answer that is compared")
        return {
            "prompt": with_system(prompt, row.get("system")),
            "chosen": chosen,
            "rejected": rejected,
            "tools": self._tools(row),
        }

    def _prompt(self, row: Mapping[str, Any]) -> list[Row]:
        if isinstance(row.get("prompt"), str) and not _is_json_list(row["prompt"]):
            return [{"role": "user", "content": text_of(row, "prompt")}]
        return read_messages(row.get("prompt"), from_structs=self._from_structs("prompt"))


_KEPT_OUT = {
    "all": "turns with `weight: 0` or `train: false` are kept out of the loss",
    "last": "only the last answer of a conversation is learned (`train_on_turns: last`)",
    "marked": "only answers that are marked are learned (`train_on_turns: marked`)",
}

_TEXTS = ("text", "prompt", "completion", "chosen", "rejected", "instruction", "input", "output")
"""Columns that formats read as text."""


def _numbers_as_text(row: Mapping[str, Any]) -> Mapping[str, Any]:
    numbers = {column: written_text(row[column]) for column in _TEXTS if isinstance(row.get(column), int | float)}
    return {**row, **numbers} if numbers else row


def _joined(convert: Callable[[Mapping[str, Any]], Row]) -> Callable[[Mapping[str, Any]], Row]:
    def join(row: Mapping[str, Any]) -> Row:
        pair = convert(row)
        return {"messages": [*pair["prompt"], *pair["completion"]], "tools": pair["tools"]}

    return join


def _column_of_turns(row: Mapping[str, Any]) -> str:
    return "messages" if row.get("messages") is not None else "conversations"


def _string_pair(row: Mapping[str, Any]) -> Row:
    return {"prompt": text_of(row, "prompt", may_be_empty=True), "completion": text_of(row, "completion")}


def _pair_of_turns(row: Mapping[str, Any], prompt: str, completion: str) -> Row:
    if not prompt.strip():
        raise UnusableRow("with empty prompt")
    turns = with_system([{"role": "user", "content": prompt}], row.get("system"))
    return {"prompt": turns, "completion": [{"role": "assistant", "content": completion}], "tools": None}


def _string_preference(row: Mapping[str, Any]) -> Row:
    if "prompt" in row and not isinstance(row["prompt"], str):
        raise UnusableRow("without a prompt")
    chosen, rejected = text_of(row, "chosen"), text_of(row, "rejected")
    if chosen == rejected:
        raise UnusableRow("whose two answers are the same")
    if "prompt" in row:
        return {"prompt": row["prompt"], "chosen": chosen, "rejected": rejected}
    end = common_beginning(chosen, rejected)
    return {"prompt": chosen[:end], "chosen": chosen[end:], "rejected": rejected[end:]}


def common_beginning(first: str, second: str) -> int:
    """Return the length of what two different texts begin with in common, as TRL's `extract_prompt` does: without a
    space at its end, which belongs to the word after it, and with something left of both.
    """
    end = next(
        (place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)) - 1,
    )
    return end - 1 if end and first[end - 1] == " " else end


def _is_json_list(text: str) -> bool:
    """Whether a text looks like messages as JSON, as CSV has them."""
    return re.match(r"\s*\[\s*\{", text) is not None


def _template_arguments(value: Any, from_structs: bool) -> Row:
    """Return what a row gives its chat template, such as ``{enable_thinking: false}``."""
    if isinstance(value, str):
        value, from_structs = parse_json(value, "chat_template_kwargs") if value.strip() else {}, False
    if not isinstance(value, Mapping):
        raise UnusableRow("whose chat_template_kwargs are not a mapping")
    return dict(without_nulls(value) if from_structs else value)
