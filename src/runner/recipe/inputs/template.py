"""An entry's `template`: columns that are written from the fields of a row.

``{name}`` stands for the field of that name, ``{{`` and ``}}`` for braces. A column is a text, or a list of messages
whose texts are filled in; a system message that stays empty is left out.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from runner.errors import UserError

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")


def template_fields(template: Mapping[str, Any]) -> list[str]:
    """The fields that a template names, in order.

    Raises:
        UserError: a brace stands alone.
    """
    found: dict[str, None] = {}
    for text in _texts(template):
        for brace in _BRACES.finditer(text):
            if brace[0] in ("{", "}"):
                raise UserError(
                    f"a `{brace[0]}` is unmatched in `{text[:60]}`",
                    remedy="write `{field}` for a field of the row, `{{` and `}}` for braces",
                )
            if brace[1] is not None:
                found[brace[1]] = None
    return list(found)


def fill_template(template: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a template makes of a row, which has all of its fields."""
    return {column: _filled(part, row) for column, part in template.items()}


def _filled(part: Any, row: Mapping[str, Any]) -> Any:
    if isinstance(part, str):
        return _BRACES.sub(lambda brace: _as_text(row[brace[1]]) if brace[1] else brace[0][0], part)
    if isinstance(part, Mapping):
        return {key: _filled(text, row) for key, text in part.items()}
    messages = [_filled(message, row) for message in part]
    return [message for message in messages if not _is_empty_system(message)]


def _is_empty_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "system" and not str(message.get("content", "")).strip()


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    else:
        for inner in part.values() if isinstance(part, Mapping) else part:
            yield from _texts(inner)
