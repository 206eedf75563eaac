"""An entry's `template`: columns that are built from the fields of a row.

``{name}`` inserts the field of that name; ``{{`` and ``}}`` are braces. ``{name?}`` inserts it with the white space
before it, or nothing of both where the field is empty; ``{#name}…{/name}`` is there only if the field has text, and
``{^name}…{/name}`` only if it has none (as in Mustache). A column is text, or a list of messages whose texts are filled
in; one that is ``{name}`` alone may also take a list of turns. A system message that turns out empty is left out.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from runner.errors import UserError
from runner.recipe.formats.layouts import UnusableRow
from runner.recipe.formats.templates.text import fields_of, fill_text, parse_text, single_field
from runner.recipe.formats.turns import ROLES, is_turns
from runner.recipe.rows.numbers import written_text
from runner.recipe.suggestions import closest

_LONGEST = 100_000
"""Characters of one text: it is filled in for every row."""
_OF_TURNS = ("messages", "conversations", "prompt", "completion", "chosen", "rejected")
"""Columns that may hold turns."""
_DOUBLED = re.compile(r"\{\{\s*([A-Za-z_][\w .-]*?)\s*\}\}")


def template_fields(template: Mapping[str, Any], columns: Collection[str] = ()) -> list[str]:
    """Return the fields that a template uses, in order.

    Args:
        template: the template.
        columns: the row's fields, as far as they are known: a name such as ``right?`` may be one of them.

    Raises:
        UserError: a brace or a condition is unmatched, a text is too long, or a message has a role that no chat
            template knows.
    """
    names: dict[str, None] = {}
    for text in _texts(template):
        if len(text) > _LONGEST:
            raise UserError(
                f"a text of {len(text):,} characters in a template: more than {_LONGEST:,}",
                remedy="write the fields and the words around them, and keep data in its own files",
            )
        names |= dict.fromkeys(fields_of(parse_text(text, columns)))
    for message in _messages(template):
        _check_role(message)
    return list(names)


def check_fields(template: Mapping[str, Any], columns: Sequence[str] | None) -> None:
    """Refuse a template that takes nothing of a row, or that doubles the braces around the name of a field.

    Args:
        template: a template whose braces match.
        columns: the row's fields; None if they are not known.

    Raises:
        UserError: with what to write.
    """
    has_fields = bool(template_fields(template, columns or ()))
    for text in _texts(template):
        for name in _DOUBLED.findall(text):
            if name in columns if columns is not None else not has_fields:
                raise UserError(
                    f"`{{{{{name}}}}}` is the text `{{{name}}}` in every row: doubled braces insert no field",
                    remedy=f'write "{{{name}}}"',
                )
    if template and not has_fields:
        known = f"; its fields: {', '.join(columns)}" if columns else ""
        raise UserError(
            "it names no field of a row, so that every row would be the same",
            remedy=f'write "{{field}}" with the name of a field{known}',
        )


def fill_template(template: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a template builds from a row. A field that the row lacks is empty.

    Raises:
        UnusableRow: a field holds a list, or an object such as a message, which has no text of its own.
    """
    return {column: _fill_column(column, part, row) for column, part in template.items()}


def _fill_column(column: str, part: Any, row: Mapping[str, Any]) -> Any:
    """Fill in a column. One that is a single field takes its turns as they are, where a format has turns."""
    if isinstance(part, str) and column in _OF_TURNS and (name := single_field(part, row)) is not None:
        value = row.get(name)
        if is_turns(value):
            return value
    return _fill(part, row)


def _fill(part: Any, row: Mapping[str, Any]) -> Any:
    if isinstance(part, str):
        return fill_text(parse_text(part, row), lambda name: _as_text(name, row.get(name)))
    if isinstance(part, Mapping):
        return {key: _fill(text, row) for key, text in part.items()}
    messages = [_fill(message, row) for message in part]
    return [message for message in messages if not _is_empty_system(message)]


def _is_empty_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "system" and not str(message.get("content", "")).strip()


def _as_text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | Mapping):
        kind = "a list" if isinstance(value, list) else "an object, such as a message"
        raise UnusableRow(f"whose field {name}, which the template inserts as text, is {kind}")
    return written_text(value)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    else:
        for inner in part.values() if isinstance(part, Mapping) else part:
            yield from _texts(inner)


def _messages(template: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for part in template.values():
        for message in part if isinstance(part, list | tuple) else ():
            if isinstance(message, Mapping):
                yield message


def _check_role(message: Mapping[str, Any]) -> None:
    """Refuse a role that would fail in each row, or a message without one."""
    role = message.get("role", message.get("from"))
    if role is None or not {"content", "value", "tool_calls"} & set(message):
        raise UserError("a message in it has no role and content", remedy='write `[{role: user, content: "{field}"}]`')
    if "{" in str(role) or str(role).strip().lower() in ROLES:
        return
    meant = closest(str(role).strip().lower(), ROLES, likeness=0.75)
    remedy = f"did you mean `{meant}`?" if meant else "write `system`, `user`, `assistant` or `tool`"
    raise UserError(f"`{role}` is not a role of a message", remedy=remedy)
