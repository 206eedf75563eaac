"""Where the answers of a conversation stand in the text that a chat template makes of it.

No template has to say it. A turn of the assistant is what a template writes for the conversation up to it and not for
the one before it, with the opening of an answer. Where that cannot be seen, since the template writes the beginning of
a conversation in another way once it goes on, the answer is found by writing another in its place.

A turn that is written in another way once others follow (its reasoning is dropped) is not what the model will ever say:
it is told apart, and left out of the loss.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from jinja2 import TemplateError

from runner.recipe.formats.layouts import Row
from runner.recipe.formats.turns import is_answer

Render = Callable[..., str]
"""Returns the text that a template makes of messages; takes ``add_generation_prompt`` and what a row gives it."""

REFUSALS = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)
"""What rendering raises: `raise_exception` of a template, or an expression that does not fit the row."""

_PLACEHOLDER = "\ue001answer\ue001"


@dataclass(frozen=True, kw_only=True)
class AnswerSpans:
    """A rendered conversation and where its answers stand."""

    text: str
    """All of it."""
    spans: tuple[tuple[int, int], ...]
    """The answers that can be learned, from the first character of each to the one after its last."""
    changed: int = 0
    """How many answers are left out: the template writes them in another way once others follow."""


def find_answers(
    render: Render,
    messages: Sequence[Row],
    given: Mapping[str, Any],
    *,
    specials: Sequence[str],
    first: int = 0,
) -> AnswerSpans:
    """Return the text of a conversation and where its answers stand.

    Args:
        render: the template's.
        messages: the conversation.
        given: what the row gives the template besides: ``tools``, and its own arguments.
        specials: the tokenizer's added tokens, one of which ends a turn.
        first: the first message that may be learned; those before it are a prompt.
    """
    text = render(messages, **given)
    finder = _Finder(render, messages, given, text, specials)
    spans, changed = [], 0
    for place, message in enumerate(messages):
        if place < first or not is_answer(message):
            continue
        span = finder.span(place)
        if span is None or span[0] >= span[1]:
            changed += 1
        else:
            spans.append(span)
    return AnswerSpans(text=text, spans=tuple(spans), changed=changed)


class _Finder:
    def __init__(
        self, render: Render, messages: Sequence[Row], given: Mapping[str, Any], text: str, specials: Sequence[str]
    ) -> None:
        self._render = render
        self._messages = list(messages)
        self._given = given
        self._text = text
        # Longest first, so that a token that begins like another is not taken for it.
        names = sorted(filter(None, specials), key=len, reverse=True)
        self._specials = re.compile("|".join(map(re.escape, names))) if names else None

    def span(self, place: int) -> tuple[int, int] | None:
        """Return where the answer of this message stands; None if it is not written there as it would be said."""
        alone = self._written(self._messages[: place + 1])
        if alone is None:
            return None
        opening = self._written(self._messages[:place], add_generation_prompt=True) if place else None
        if opening and alone.startswith(opening) and self._text.startswith(opening):
            end = self._end(self._text, alone, len(opening))
            return self._whole(len(opening), end, alone)
        return self._by_placeholder(place, alone)

    def _whole(self, start: int, end: int, alone: str) -> tuple[int, int] | None:
        """Return a span if it holds all that is said of the turn: what follows in `alone` is no more than an end."""
        left = alone[end:]
        if self._specials is not None:
            left = self._specials.sub("", left)
        return (start, end) if not left.strip() else None

    def _by_placeholder(self, place: int, alone: str) -> tuple[int, int] | None:
        there = self._content(self._messages, place, self._text)
        said = self._content(self._messages[: place + 1], place, alone)
        if there is None or said is None:
            return None
        tail, tail_alone = self._text[there[1] :], alone[said[1] :]
        end = self._end(tail, tail_alone, 0)
        as_said = alone[said[0] : said[1]] == self._text[there[0] : there[1]]
        return (there[0], there[1] + end) if as_said and self._whole(0, end, tail_alone) else None

    def _content(self, messages: Sequence[Row], place: int, text: str) -> tuple[int, int] | None:
        """Return where a message's content stands in a text, by what stands around another in its place."""
        if not str(messages[place].get("content") or "").strip():
            return None
        other = [*messages]
        other[place] = {**other[place], "content": _PLACEHOLDER}
        written = self._written(other)
        if written is None or written.count(_PLACEHOLDER) != 1:
            return None
        before, _, after = written.partition(_PLACEHOLDER)
        if not (text.startswith(before) and text.endswith(after)) or len(before) + len(after) > len(text):
            return None
        return len(before), len(text) - len(after)

    def _end(self, text: str, alone: str, start: int) -> int:
        """Return where a turn ends that begins at `start` in both texts: with what they have in common."""
        pairs = zip(text[start:], alone[start:], strict=False)
        end = start + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        # What comes after the turn may begin as its end does, with a part of a token.
        for other in (text, alone):
            end = min(
                [end, *(match.start() for match in self._tokens(other, start) if match.start() < end < match.end())]
            )
        return end

    def _tokens(self, text: str, start: int) -> Iterator[re.Match[str]]:
        return iter(()) if self._specials is None else self._specials.finditer(text, start)

    def _written(self, messages: Sequence[Row], **arguments: Any) -> str | None:
        try:
            return self._render(messages, **{**self._given, **arguments})
        except REFUSALS:
            return None
