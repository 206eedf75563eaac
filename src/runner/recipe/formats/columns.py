"""Which columns of a row are read, and which are not though they would change what is learned."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from runner.recipe.formats.alpaca import ALPACA
from runner.recipe.formats.detection import COLUMNS, OF_TURNS
from runner.recipe.formats.layouts import RowLayout, UnusableRow
from runner.recipe.recipe import Format

_WITH_TURNS = ("tools", "system", "chat_template_kwargs")
_MEDIA: Mapping[str, str] = {
    "images": "images",
    "image": "images",
    "videos": "videos",
    "video": "videos",
    "audios": "audio",
    "audio": "audio",
}
_TURNS_REMEDY = {
    "system": 'write `template: {prompt: [{role: system, content: "{system}"}, {role: user, content: "{prompt}"}]}`, '
    'with messages for the other columns too, or one without it: `{prompt: "{prompt}"}`',
    "history": "put its turns into the messages, or into the prompt, or leave the column out",
}
_VERDICTS = ("label", "kto_tag")
"""Columns that call an answer good or bad: TRL's name for KTO, and LLaMA-Factory's."""


class UnreadMeaning(Exception):
    """A column holds what would change what is learned, and its format does not read it.

    Args:
        what: the column, and why it matters.
        remedy: what to write.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def columns_read(name: Format, layout: RowLayout, columns: Collection[str], text_field: str) -> set[str]:
    """Return the columns that rows of a format are made from.

    Args:
        name: the format.
        layout: the layout of what is made.
        columns: those that the data have.
        text_field: the name of the column of plain text.
    """
    if name == "prompt_only":
        return set(columns)  # reward functions get them
    if name == "text":
        return {text_field}
    if name in ALPACA:
        return {"instruction", "input", "output", "system", "history"} | (
            {"chat_template_kwargs"} if layout.is_conversational else set()
        )
    if name in OF_TURNS:
        return {"messages" if "messages" in columns else "conversations", *_WITH_TURNS}
    own = {*COLUMNS[name], "prompt"}
    if name == "preference" and "prompt" not in columns:
        own |= {"messages" if "messages" in columns else "conversations"}
    return own | set(_WITH_TURNS) if layout.is_conversational else own


def column_check(name: Format, layout: RowLayout, columns: Collection[str]) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that refuses a row whose meaning lies in columns that are not read.

    Args:
        name: the format.
        layout: the layout of what is made.
        columns: those that the data have and that the recipe does not mention.

    Returns:
        Raises `UnreadMeaning` for what must be said before anything is trained on, and `UnusableRow` for a row that
        can be left out.
    """
    media = [column for column in _MEDIA if column in columns and name != "text"]
    verdicts = [column for column in _VERDICTS if column in columns and name not in ("text", "preference")]
    verdicts = verdicts if name != "prompt_only" else []
    in_strings = layout in (RowLayout.PAIR, RowLayout.PREFERENCE) and name not in ALPACA
    turns = ["system"] if "system" in columns and in_strings else []
    turns += ["history"] if "history" in columns and name not in (*ALPACA, "text", "prompt_only") else []
    arguments = "chat_template_kwargs" in columns and name == "prompt_only"

    def check(row: Mapping[str, Any]) -> None:
        for column in media:
            if row.get(column):
                raise UnusableRow(f"with {_MEDIA[column]}, which are not read")
        for column in verdicts:
            value = row.get(column)
            if value is False or (isinstance(value, str) and value.strip().lower() == "false"):
                raise UnreadMeaning(
                    f"`{column}: false` marks an answer as a bad one, and all answers are learned",
                    f"write `filter: {{{column}: {'true' if value is False else _opposite(value)}}}` for the good ones",
                )
        for column in turns:
            value = row.get(column)
            if value.strip() if isinstance(value, str) else value:
                beside = "a prompt that is plain text" if in_strings else "turns"
                raise UnreadMeaning(f"the column `{column}` is not read beside {beside}", _TURNS_REMEDY[column])
        if arguments and row.get("chat_template_kwargs"):
            raise UnreadMeaning(
                "TRL's GRPO does not read the column `chat_template_kwargs` of a row",
                "write `training: {chat_template_kwargs: …}`, for all rows alike",
            )

    return check


def _opposite(text: str) -> str:
    """Return "true" in the case that a text "false" is in, quoted: the column holds text."""
    word = text.strip()
    return '"TRUE"' if word.isupper() else '"True"' if word[0].isupper() else '"true"'


def unread_sentence(where: str, columns: Sequence[str]) -> str | None:
    """Return the sentence that names an entry's columns of which nothing is made; None if there are none."""
    if not columns:
        return None
    return f"{where}: of these columns nothing is made: {', '.join(columns)}."
