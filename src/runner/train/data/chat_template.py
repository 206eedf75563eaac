"""Rows and the model's chat template: what it refuses is dropped and counted, and calls get the form that it writes.

Templates refuse rows by their shape: whose turns they are and in which order, what keys they have. So a row is rendered
only if none of its shape has been; a template that refuses a row by its text is met when TRL tokenizes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from runner.errors import UserError
from runner.recipe.formats.dropped import DroppedRows
from runner.recipe.formats.layouts import Row, RowLayout
from runner.runs.record_types.result import DroppedRecord
from runner.train.data.loss.spans import REFUSALS
from runner.train.data.mixture import TrainingData
from runner.train.data.origins import Origins

_ARGUMENTS = {"city": "Oslo"}
_ARGUMENTS_AS_TEXT = json.dumps(_ARGUMENTS)
_MESSAGES = ("messages", "prompt", "completion", "chosen", "rejected")
"""Columns of messages, in one layout or another."""


def fit_to_template(
    data: TrainingData, tokenizer: PreTrainedTokenizerBase, training: Mapping[str, Any]
) -> TrainingData:
    """Return the data without the rows that the chat template refuses, with notes and records of them.

    Args:
        data: the stage's.
        tokenizer: the model's.
        training: the recipe's `training`.

    Raises:
        UserError: there is no chat template, or it refuses every row.
    """
    if not data.conversational:
        return data
    template = named_template(training.get("chat_template_path"))
    if template is None and training.get("chat_template_path"):
        return data  # another model's, which TRL fetches
    if template is None and tokenizer.chat_template is None:
        raise UserError(
            "the data are conversations, and the model's tokenizer has no chat template",
            where="training.chat_template_path",
            remedy="Name a model that has one (a .jinja file does too), or bring the data as prompts and completions.",
        )
    renderer = _Renderer(tokenizer, data.layout, template, training.get("chat_template_kwargs") or {})
    dropped: list[DroppedRecord] = list(data.dropped)
    notes = list(data.notes)
    kept = renderer.kept("data.train", data.train, data.train_origins, notes, dropped)
    train, train_origins = _select(data.train, data.train_origins, kept)
    evaluation, eval_origins = data.eval, data.eval_origins
    if evaluation is not None:
        kept = renderer.kept("data.eval", evaluation, eval_origins, notes, dropped)
        evaluation, eval_origins = _select(evaluation, eval_origins, kept)
    if renderer.arguments_as_text:
        train, evaluation = _arguments_as_text(train), None if evaluation is None else _arguments_as_text(evaluation)
    return replace(
        data,
        train=train,
        eval=evaluation,
        train_origins=train_origins,
        eval_origins=eval_origins,
        questions=tuple(question for question in data.questions if renderer.accepts_prompt(question.prompt)),
        notes=tuple(notes),
        dropped=tuple(dropped),
    )


def named_template(path: Any) -> str | None:
    """Return the template of a file that the recipe names; None if it names none, or another model."""
    if not path or not Path(path).is_file():
        return None
    return Path(path).read_text(encoding="utf-8")


def _select(rows: Dataset, origins: Origins, kept: Sequence[int]) -> tuple[Dataset, Origins]:
    return (rows, origins) if len(kept) == len(rows) else (rows.select(kept), origins.select(kept))


class _Renderer:
    """Renders rows of a layout as TRL does, one of each shape."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        layout: RowLayout,
        template: str | None,
        arguments: Mapping[str, Any],
    ) -> None:
        self._tokenizer = tokenizer
        self._layout = layout
        self._given = {**arguments, **({} if template is None else {"chat_template": template})}
        self._reasons: dict[str, str | None] = {}
        self._has_calls = False

    def kept(
        self, where: str, rows: Dataset, origins: Origins, notes: list[str], dropped: list[DroppedRecord]
    ) -> list[int]:
        """Return the places of the rows that the template accepts; add to `notes` and `dropped` what is said of others.

        Raises:
            UserError: it accepts none.
        """
        kept: list[int] = []
        refused: dict[str, DroppedRows] = {}
        for place, row in enumerate(rows):
            reason = self._reason(row)
            if reason is None:
                kept.append(place)
            else:
                entry = origins.entry(place) if len(origins) else where
                refused.setdefault(entry, DroppedRows(entry)).add(f"that the chat template refuses: {reason}", place)
        for entry, rows_of_entry in refused.items():
            for reason, place in rows_of_entry.first.items():
                if len(origins):
                    rows_of_entry.word, rows_of_entry.first[reason] = origins.place(place)
            if not kept:
                raise UserError(
                    f"no row can be used: {rows_of_entry.reasons()}",
                    where=entry,
                    remedy="Change the rows, or name another template (a .jinja file) as training.chat_template_path.",
                )
            count = origins.count(entry) if len(origins) else len(rows)
            notes.append(rows_of_entry.sentence(count))
            dropped += cast(list[DroppedRecord], rows_of_entry.records(count))
        return kept

    def accepts_prompt(self, prompt: Any) -> bool:
        """Whether the template accepts the prompt of a question."""
        return isinstance(prompt, str) or self._error(prompt, {}, add_generation_prompt=True) is None

    @property
    def arguments_as_text(self) -> bool:
        """Whether rows call tools, and the template writes a call's arguments only if they are JSON in a string."""
        return self._has_calls and self._text_is_wanted

    @cached_property
    def _text_is_wanted(self) -> bool:
        return not self._writes_call(_ARGUMENTS) and self._writes_call(_ARGUMENTS_AS_TEXT)

    def _writes_call(self, arguments: Any) -> bool:
        call = {"type": "function", "id": "call00001", "function": {"name": "get", "arguments": arguments}}
        messages: list[Row] = [
            {"role": "user", "content": "Where?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
        ]
        try:
            text = self._rendered(messages, {})
        except REFUSALS:
            return False
        return _ARGUMENTS_AS_TEXT in text or _ARGUMENTS_AS_TEXT.replace(" ", "") in text

    def _reason(self, row: Row) -> str | None:
        shape = json.dumps([_shape(row.get(column)) for column in ("messages", "prompt", "completion", "chosen")])
        shape += json.dumps([_shape(row.get("rejected")), bool(row.get("tools")), row.get("chat_template_kwargs")])
        if shape not in self._reasons:
            self._reasons[shape] = self._refusal(row)
        return self._reasons[shape]

    def _refusal(self, row: Row) -> str | None:
        given = {"tools": row.get("tools"), **(row.get("chat_template_kwargs") or {})}
        if self._layout is RowLayout.CONVERSATION:
            return self._error(row["messages"], given)
        prompt = list(row["prompt"])
        wholes = [prompt + list(row[column]) for column in ("completion", "chosen", "rejected") if column in row]
        if self._layout is RowLayout.PROMPT_MESSAGES:
            wholes, given = [], {}
        reasons = [self._error(prompt, given, add_generation_prompt=True), *(self._error(one, given) for one in wholes)]
        return next((reason for reason in reasons if reason is not None), None)

    def _error(self, messages: Sequence[Row], given: Mapping[str, Any], **arguments: Any) -> str | None:
        try:
            self._render(messages, {**given, **arguments})
        except REFUSALS as error:
            return " ".join(str(error).split()) or type(error).__name__
        return None

    def _render(self, messages: Sequence[Row], given: Mapping[str, Any]) -> str:
        if any(message.get("tool_calls") for message in messages):
            self._has_calls = True
            if self._text_is_wanted:
                messages = [_with_text(message) for message in messages]
        return self._rendered(messages, given)

    def _rendered(self, messages: Sequence[Row], given: Mapping[str, Any]) -> str:
        return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, **{**self._given, **given}))


def _shape(messages: Any) -> Any:
    """Return what a template's decisions depend on: roles, keys, empty texts, the length of ids."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    return [
        [message.get("role"), sorted(message), bool(message.get("content")), len(str(message.get("tool_call_id", "")))]
        + [[sorted(call), len(str(call.get("id", "")))] for call in message.get("tool_calls") or ()]
        for message in messages
    ]


def _arguments_as_text(rows: Dataset) -> Dataset:
    """Return rows in which the arguments of calls are JSON in a string."""
    columns = [column for column in _MESSAGES if column in rows.column_names]

    def rewrite(row: Row) -> Row:
        return {
            column: rows.features[column].encode_example([_with_text(message) for message in row[column]])
            for column in columns
        }

    return rows.map(rewrite, features=rows.features, load_from_cache_file=False, desc="Writing arguments as JSON")


def _with_text(message: Row) -> Row:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [_call_with_text(call) for call in calls]}


def _call_with_text(call: Row) -> Row:
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _call_with_text(call["function"])}
    arguments = call.get("arguments")
    is_text = arguments is None or isinstance(arguments, str)
    return call if is_text else {**call, "arguments": json.dumps(arguments, ensure_ascii=False)}
