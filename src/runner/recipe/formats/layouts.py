"""The layouts that converted rows have, and the one that a mixture takes.

The loss is on the completion of a pair, and on all of a conversation or text (TRL's `completion_only_loss`,
`assistant_only_loss` and `dataset_text_field` change that). A mixture has one layout. If its entries differ in whether
they hold strings or turns, strings become turns: a prompt the user's, a completion or an answer the assistant's. Plain
text mixes with nothing else, since the model would then see something else than the data say.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from runner.errors import UserError

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


def layout_called(text: str | None) -> RowLayout | None:
    """Return the layout that a record names; None if it names none that is known."""
    return next((layout for layout in RowLayout if layout.value == text), None)


class UnusableRow(Exception):
    """A row cannot be trained on. The message says why, in the same words for rows with the same fault."""


class NeedsPairs(Exception):
    """A row can only be trained on as a pair of messages.

    Args:
        why: a clause for the log.
        keeps_out: whether that keeps turns out of the loss, which the recipe's loss settings must not undo.
    """

    def __init__(self, why: str, *, keeps_out: bool = False) -> None:
        super().__init__(why)
        self.keeps_out = keeps_out


@dataclass(frozen=True, kw_only=True)
class EntryLayout:
    """What the mixture of an entry with others depends on."""

    where: str
    """Its place in the recipe (``data.train.0``)."""
    layout: RowLayout
    """The layout that its rows have on their own."""
    thinks: bool = False
    """Whether its answers are rewritten with their reasoning, which only pairs can hold."""
    needs_pairs: NeedsPairs | None = None
    """Why its rows can only be pairs of messages, if so."""


_OF_TURNS: tuple[tuple[RowLayout, ...], ...] = (
    (RowLayout.CONVERSATION, RowLayout.MESSAGE_PAIR, RowLayout.PAIR),
    (RowLayout.PREFERENCE_MESSAGES, RowLayout.PREFERENCE),
    (RowLayout.PROMPT_MESSAGES, RowLayout.PROMPT),
)
"""Layouts that mix; the first of them that an entry has is the mixture's."""


def common_layout(entries: Sequence[EntryLayout], notes: list[str]) -> RowLayout:
    """Return the one layout that all entries can take; add to `notes` which entries change theirs.

    Raises:
        UserError: there is none.
    """
    layouts = {entry.layout for entry in entries}
    needy = next((entry for entry in entries if entry.needs_pairs), None)
    if len(layouts) == 1 and needy is None:
        return layouts.pop()
    family = next((family for family in _OF_TURNS if layouts <= set(family)), None)
    if family is None:
        first, second = next((a, b) for a, b in itertools.pairwise(entries) if a.layout is not b.layout)
        raise UserError(
            f"{first.where} holds {first.layout.value} and {second.where} {second.layout.value}: they cannot be mixed",
            where="data",
            remedy="Bring both to one format; messages is the one that most can be written in.",
        )
    layout = next(layout for layout in family if layout in layouts)
    if needy is not None:
        layout = RowLayout.MESSAGE_PAIR
    elif layout is RowLayout.CONVERSATION and any(entry.thinks for entry in entries):
        conversation = next(entry.where for entry in entries if entry.layout is layout)
        raise UserError(
            f"{conversation} holds conversations, and other entries answers that think: they cannot be mixed",
            where="data",
            remedy="Write think: true there too, or leave think out everywhere.",
        )
    changed = [entry for entry in entries if entry.layout is not layout]
    if needy is not None:
        notes.append(
            f"{needy.where}: {needy.needs_pairs}; so the data are taken as {layout.value}, with the loss on the "
            "answers after each prompt."
        )
    elif changed:
        names = ", ".join(entry.where for entry in changed)
        notes.append(f"{names}: taken as {layout.value}, like the rest of the data{_consequence(changed, layout)}.")
    return layout


def trained_layout(entries: Sequence[EntryLayout], layout: RowLayout, notes: list[str]) -> RowLayout:
    """Return the layout to measure a run's model in: the one that it was trained in, whatever the entries hold.

    Args:
        entries: those to measure on, and those that it was trained on.
        layout: the one that it was trained in.
        notes: gets a sentence on entries that change theirs.

    Raises:
        UserError: an entry cannot take it.
    """
    family = next((family for family in _OF_TURNS if layout in family), (layout,))
    odd = next((entry for entry in entries if entry.layout not in family), None)
    if odd is not None:
        columns = _TEMPLATE_OF.get(layout)
        raise UserError(
            f"holds {odd.layout.value}, and the run was trained on {layout.value}",
            where=odd.where,
            remedy=f"Make its columns with a template: {{path: …, template: {columns}}}." if columns else None,
        )
    if layout is RowLayout.CONVERSATION and any(entry.needs_pairs for entry in entries):
        return common_layout(entries, notes)
    changed = ", ".join(entry.where for entry in entries if entry.layout is not layout)
    if changed:
        notes.append(f"{changed}: taken as {layout.value}, as the run was trained.")
    return layout


_TEMPLATE_OF: Mapping[RowLayout, str] = {
    RowLayout.TEXT: '{text: "{prompt}{completion}"}',
    RowLayout.PAIR: '{prompt: "…", completion: "…"}',
    RowLayout.MESSAGE_PAIR: '{prompt: "…", completion: "…"}',
    RowLayout.CONVERSATION: '{prompt: "…", completion: "…"}',
}
"""What a template makes for a layout, as an example."""

TURNS_OF: Mapping[RowLayout, RowLayout] = {
    RowLayout.PAIR: RowLayout.MESSAGE_PAIR,
    RowLayout.PREFERENCE: RowLayout.PREFERENCE_MESSAGES,
    RowLayout.PROMPT: RowLayout.PROMPT_MESSAGES,
}
"""The layouts of strings, and those of the same columns in turns."""


def in_strings(row: Row) -> Row:
    """Return a row of turns as strings, if it has one turn for each of them.

    Args:
        row: in one of the layouts of turns that `TURNS_OF` names.

    Raises:
        UnusableRow: it has more turns than strings, or turns that are more than text.
    """
    made = dict(row)
    made.pop("tools", None)
    for column in ("prompt", "completion", "chosen", "rejected"):
        if not isinstance(turns := row.get(column), list):
            continue
        role = "user" if column == "prompt" else "assistant"
        if len(turns) != 1 or turns[0].get("role") != role or not isinstance(turns[0].get("content"), str):
            raise UnusableRow("with more than one question and answer")
        made[column] = turns[0]["content"]
    return made


def _consequence(changed: Sequence[EntryLayout], layout: RowLayout) -> str:
    """Say what becomes of strings among turns, and of their loss."""
    if not any(entry.layout in (RowLayout.PAIR, RowLayout.PREFERENCE, RowLayout.PROMPT) for entry in changed):
        return ""
    if layout is RowLayout.PROMPT_MESSAGES:
        return " (a prompt becomes a user's turn)"
    turns = " (a prompt becomes a user's turn, an answer an assistant's"
    return turns + (", and the loss is on both)" if layout is RowLayout.CONVERSATION else ")")


def check_loss_settings(training: Mapping[str, Any], layout: RowLayout, entries: Sequence[EntryLayout]) -> None:
    """Refuse loss settings that do not fit the data: TRL silently ignores the first and crashes on the second.

    Raises:
        UserError: the layout has not what the loss is to be on, or turns would be learned that are marked otherwise.
    """
    marked = next((entry for entry in entries if entry.needs_pairs and entry.needs_pairs.keeps_out), None)
    if marked is not None and training.get("completion_only_loss") is False:
        raise UserError(
            f"false, and {marked.where} marks turns that are not to be learned",
            where="training.completion_only_loss",
            remedy="Leave it out, or leave the marks out.",
        )
    if training.get("completion_only_loss") and layout in (RowLayout.CONVERSATION, RowLayout.TEXT):
        raise UserError(
            f"the data are {layout.value}, which have no completion",
            where="training.completion_only_loss",
            remedy="Leave it out."
            if layout is RowLayout.TEXT
            else "For conversations, assistant_only_loss: true is what trains on the answers alone.",
        )
    key = "train_on_turns" if training.get("train_on_turns") else "assistant_only_loss"
    if training.get(key) and not layout.is_conversational:
        raise UserError(
            f"the data are {layout.value}, which have no assistant's turns",
            where=f"training.{key}",
            remedy="Leave it out: the loss on pairs is on the completion alone.",
        )
