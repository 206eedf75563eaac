"""An entry's `template`: columns that are built from the fields of a row.

``{name}`` inserts the field of that name; ``{{`` and ``}}`` are braces. A column is text, or a list of messages whose
texts are filled in. A system message that turns out empty is left out.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from runner.errors import UserError
from runner.recipe.rows.numbers import WrittenFloat

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")


def template_fields(template: Mapping[str, Any]) -> list[str]:
    """Return the fields that a template uses, in order.

    Raises:
        UserError: a brace is unmatched.
    """
    names: dict[str, None] = {}
    for text in _texts(template):
        for brace in _BRACES.finditer(text):
            if brace[0] in ("{", "}"):
                raise UserError(
                    f"a `{brace[0]}` is unmatched in `{text[:60]}`",
                    remedy="write `{field}` for a field of the row, `{{` and `}}` for braces",
                )
            if brace[1] is not None:
                names[brace[1]] = None
    return list(names)


def fill_template(template: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a template builds from a row. The row must have all `template_fields`."""
    return {column: _fill(part, row) for column, part in template.items()}


def _fill(part: Any, row: Mapping[str, Any]) -> Any:
    if isinstance(part, str):
        return _BRACES.sub(lambda brace: _as_text(row[brace[1]]) if brace[1] else brace[0][0], part)
    if isinstance(part, Mapping):
        return {key: _fill(text, row) for key, text in part.items()}
    messages = [_fill(message, row) for message in part]
    return [message for message in messages if not _is_empty_system(message)]


def _is_empty_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "system" and not str(message.get("content", "")).strip()


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | WrittenFloat):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    else:
        for inner in part.values() if isinstance(part, Mapping) else part:
            yield from _texts(inner)
