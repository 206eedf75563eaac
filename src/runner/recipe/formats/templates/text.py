"""One text of a template: its words, the fields that it inserts, and its conditions."""

import functools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runner.errors import UserError

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
_CONDITION = re.compile(r"\{([#^/][^{}]+|[^{}]+\?)\}")


@dataclass(frozen=True)
class Field:
    """A field's text."""

    name: str


@dataclass(frozen=True)
class Optional:
    """A field's text with the white space around it, or nothing if the field is empty."""

    name: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Section:
    """Parts that are there only if a field has text, or only if it has none."""

    name: str
    if_empty: bool
    parts: tuple["Part", ...]


Part: TypeAlias = str | Field | Optional | Section


def parse_text(text: str, columns: Collection[str] = ()) -> tuple[Part, ...]:
    """Return the parts of a text.

    Args:
        text: as written in the recipe.
        columns: the row's fields: a name that looks like a condition (``right?``) and is one of them is a field.

    Raises:
        UserError: a brace or a condition is unmatched.
    """
    return _parse(text, frozenset(name for name in _conditions(text) if name in columns))


def fields_of(parts: Sequence[Part]) -> Iterator[str]:
    """Yield the fields that parts name, in order, each as often as it is named."""
    for part in parts:
        if not isinstance(part, str):
            yield part.name
        if isinstance(part, Section):
            yield from fields_of(part.parts)


def fill_text(parts: Sequence[Part], text_of: Callable[[str], str]) -> str:
    """Return a text with its fields inserted.

    Args:
        parts: the text's.
        text_of: returns a field's text.
    """
    filled = []
    for part in parts:
        if isinstance(part, str):
            filled.append(part)
            continue
        value = text_of(part.name)
        if isinstance(part, Field):
            filled.append(value)
        elif isinstance(part, Optional):
            filled.append(f"{part.before}{value}{part.after}" if value.strip() else "")
        elif part.if_empty is not bool(value.strip()):
            filled.append(fill_text(part.parts, text_of))
    return "".join(filled)


def single_field(text: str, columns: Collection[str] = ()) -> str | None:
    """Return the field that a text is, if it is nothing else."""
    parts = parse_text(text, columns)
    return parts[0].name if len(parts) == 1 and isinstance(parts[0], Field) else None


@functools.lru_cache(maxsize=1024)
def _conditions(text: str) -> tuple[str, ...]:
    return tuple(match[1] for match in _CONDITION.finditer(text))


@functools.lru_cache(maxsize=1024)
def _parse(text: str, names: frozenset[str]) -> tuple[Part, ...]:
    levels: list[list[Part]] = [[]]
    open_sections: list[tuple[str, bool]] = []
    end = 0
    for brace in _BRACES.finditer(text):
        _add(levels[-1], text[end : brace.start()])
        end = brace.end()
        name = brace[1]
        if name is None:
            if brace[0] in ("{", "}"):
                raise _unmatched(brace[0], text)
            _add(levels[-1], brace[0][0])
        elif name in names or name[0] not in "#^/":
            levels[-1].append(
                Field(name) if name in names or len(name) == 1 or name[-1] != "?" else Optional(name[:-1])
            )
        elif name[0] != "/":
            open_sections.append((name[1:], name[0] == "^"))
            levels.append([])
        else:
            if not open_sections or open_sections[-1][0] != name[1:]:
                raise _unmatched(brace[0], text)
            opened, if_empty = open_sections.pop()
            parts = _with_space(levels.pop())
            levels[-1].append(Section(opened, if_empty, parts))
    if open_sections:
        opened, if_empty = open_sections[-1]
        raise _unmatched(f"{{{'^' if if_empty else '#'}{opened}}}", text)
    _add(levels[-1], text[end:])
    return _with_space(levels[-1])


def _add(parts: list[Part], text: str) -> None:
    if text and parts and isinstance(parts[-1], str):
        parts[-1] += text
    elif text:
        parts.append(text)


def _with_space(parts: list[Part]) -> tuple[Part, ...]:
    """Give each optional field the white space before it; the first part of a text, the white space after it."""
    for place, part in enumerate(parts):
        if not isinstance(part, Optional):
            continue
        if place and isinstance(before := parts[place - 1], str):
            words = before.rstrip()
            parts[place - 1], parts[place] = words, Optional(part.name, before=before[len(words) :])
        elif not place and len(parts) > 1 and isinstance(after := parts[1], str):
            words = after.lstrip()
            parts[1], parts[0] = words, Optional(part.name, after=after[: len(after) - len(words)])
    return tuple(part for part in parts if part != "")


def _unmatched(sign: str, text: str) -> UserError:
    if len(sign) > 1:
        name = sign.strip("{}#^/")
        return UserError(
            f"`{sign}` is unmatched in `{text[:60]}`",
            remedy=f"write `{{#{name}}}…{{/{name}}}` around what is there only if `{name}` has text, or `{{{name}?}}`",
        )
    return UserError(
        f"a `{sign}` is unmatched in `{text[:60]}`",
        remedy="write `{field}` for a field of the row, `{{` and `}}` for braces",
    )
