"""A requirement's expression, such as ``eval_loss <= 1.02 * baseline.eval_loss``: read, and held against values.

The language: names with dots, numbers, text in quotes, ``+ - * /``, parentheses, comparisons (also chained),
``and or not``, and the functions ``min``, ``max`` and ``abs``. Nothing of it is run as Python.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runner.errors import UserError

LONGEST = 1000
"""The most characters that an expression may have."""
DEEPEST = 40
"""The most levels of parentheses, functions and signs."""

Value: TypeAlias = float | str

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign><=|>=|==|!=|[-+*/()<>,]))",
    re.ASCII,
)
_COMPARISONS: Mapping[str, Callable[[Value, Value], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "abs": lambda args: abs(args[0]),
}
_WORDS = ("and", "or", "not")


class NoValueError(Exception):
    """An expression has no value: a division by zero, or a result that is infinite or not a number."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A part of an expression."""

    kind: str
    """``number``, ``text``, ``name``, ``sign``, ``call``, ``arithmetic``, ``compare``, ``and``, ``or`` or ``not``."""
    parts: tuple["Node", ...] = ()
    """What it is made of."""
    words: tuple[str, ...] = ()
    """Its operators, its function, or its name."""
    value: Value = 0.0
    """What a number or text is."""

    @property
    def condition(self) -> bool:
        """Whether it is true or false, not a value."""
        return self.kind in ("compare", *_WORDS)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a condition holds."""

    holds: bool
    """Whether it does."""
    comparisons: tuple[str, ...]
    """Each comparison with the values on its sides, as ``1.5 <= 1.53``."""


@dataclass(frozen=True)
class Expression:
    """A condition that was read."""

    text: str
    """As it was written."""
    root: Node
    """What it says."""

    def names(self) -> list[str]:
        """Every name in it, once, in the order of writing."""
        return list(dict.fromkeys(_names(self.root)))

    def verdict(self, values: Mapping[str, Value]) -> Verdict:
        """Hold it against values, which have every name of it.

        Raises:
            NoValueError: a part has no value.
            UserError: text is computed with, or compared with a number.
        """
        shown: list[str] = []
        return Verdict(holds=_holds(self, self.root, values, shown), comparisons=tuple(dict.fromkeys(shown)))


def parse(text: str) -> Expression:
    """Read a condition.

    Raises:
        UserError: it is none; the message says the place, counted in characters from 1.
    """
    if len(text) > LONGEST:
        raise UserError(
            f"it has {len(text)} characters; the most are {LONGEST}",
            where="--require",
            remedy="write several requirements: --require may be repeated",
        )
    parser = _Parser(text)
    root = parser.condition_or_value(0)
    parser.end()
    if not root.condition:
        raise parser.wrong("it is a value, not a condition", 0, "compare it: `eval_loss <= 2`")
    return Expression(text.strip(), root)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    """Recursive descent, from ``or`` down to a number."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._read())
        self._at = 0

    def wrong(self, what: str, place: int, remedy: str | None = None) -> UserError:
        """The error for this place in the expression."""
        return UserError(f"{what}, at character {place + 1} of `{self._text}`", where="--require", remedy=remedy)

    def end(self) -> None:
        """Demand that nothing is left."""
        token = self._peek()
        if token.kind != "end":
            remedy = "compare with `==`" if token.text == "=" else "an operator is missing before it, or it is too much"
            raise self.wrong(f"`{token.text}` is not expected here", token.place, remedy)

    def condition_or_value(self, depth: int) -> Node:
        """``a or b or …``."""
        return self._joined("or", lambda d: self._joined("and", self._negation, d), depth)

    def _joined(self, word: str, part: Callable[[int], Node], depth: int) -> Node:
        place = self._peek().place
        parts = [part(depth)]
        while self._peek().text == word:
            self._at += 1
            self._demand(parts[-1], place, condition=True)
            place = self._peek().place
            parts.append(part(depth))
            self._demand(parts[-1], place, condition=True)
        return parts[0] if len(parts) == 1 else Node(kind=word, parts=tuple(parts))

    def _negation(self, depth: int) -> Node:
        self._check_depth(depth)
        if self._peek().text != "not":
            return self._comparison(depth)
        self._at += 1
        place = self._peek().place
        inner = self._negation(depth + 1)
        self._demand(inner, place, condition=True)
        return Node(kind="not", parts=(inner,))

    def _comparison(self, depth: int) -> Node:
        place = self._peek().place
        parts, words = [self._sum(depth)], []
        while self._peek().text in _COMPARISONS:
            words.append(self._next().text)
            self._demand(parts[-1], place, condition=False)
            place = self._peek().place
            parts.append(self._sum(depth))
            self._demand(parts[-1], place, condition=False)
        return Node(kind="compare", parts=tuple(parts), words=tuple(words)) if words else parts[0]

    def _sum(self, depth: int) -> Node:
        return self._computed("+-", lambda d: self._computed("*/", self._signed, d), depth)

    def _computed(self, signs: str, part: Callable[[int], Node], depth: int) -> Node:
        place = self._peek().place
        parts, words = [part(depth)], []
        while self._peek().kind == "sign" and self._peek().text in signs:
            words.append(self._next().text)
            self._demand(parts[-1], place, condition=False, number=True)
            place = self._peek().place
            parts.append(part(depth))
            self._demand(parts[-1], place, condition=False, number=True)
        return Node(kind="arithmetic", parts=tuple(parts), words=tuple(words)) if words else parts[0]

    def _signed(self, depth: int) -> Node:
        self._check_depth(depth)
        if self._peek().text not in ("-", "+"):
            return self._atom(depth)
        sign, place = self._next().text, self._peek().place
        inner = self._signed(depth + 1)
        self._demand(inner, place, condition=False, number=True)
        return Node(kind="sign", parts=(inner,), words=(sign,))

    def _atom(self, depth: int) -> Node:
        token = self._next()
        if token.kind == "number":
            number = float(token.text)
            if not math.isfinite(number):
                raise self.wrong(f"`{token.text}` is too large", token.place)
            return Node(kind="number", value=number)
        if token.kind == "text":
            return Node(kind="text", value=token.text[1:-1])
        if token.text == "(":
            inner = self.condition_or_value(depth + 1)
            self._close(token)
            return inner
        if token.kind == "name" and token.text not in _WORDS:
            return self._call(token, depth) if self._peek().text == "(" else Node(kind="name", words=(token.text,))
        found = "the end" if token.kind == "end" else f"`{token.text}`"
        raise self.wrong(f"a name or a number is missing: {found} is there", token.place)

    def _call(self, name: _Token, depth: int) -> Node:
        if name.text not in _FUNCTIONS:
            raise self.wrong(f"`{name.text}` is no function", name.place, f"there are {', '.join(_FUNCTIONS)}")
        opened = self._next()
        parts = []
        while True:
            place = self._peek().place
            parts.append(self.condition_or_value(depth + 1))
            self._demand(parts[-1], place, condition=False, number=True)
            if self._peek().text != ",":
                break
            self._at += 1
        self._close(opened)
        if name.text == "abs" and len(parts) != 1:
            raise self.wrong(f"`abs` takes one value, not {len(parts)}", name.place)
        return Node(kind="call", parts=tuple(parts), words=(name.text,))

    def _close(self, opened: _Token) -> None:
        token = self._peek()
        if token.text != ")" or token.kind != "sign":
            if token.kind == "end":
                raise self.wrong("`(` is not closed", opened.place)
            raise self.wrong(f"`{token.text}` is not expected here", token.place, "`)` may be missing before it")
        self._at += 1

    def _check_depth(self, depth: int) -> None:
        if depth > DEEPEST:
            raise self.wrong(f"it is nested more than {DEEPEST} levels deep", self._peek().place)

    def _demand(self, node: Node, place: int, *, condition: bool, number: bool = False) -> None:
        if condition and not node.condition:
            raise self.wrong("a condition is missing", place, "`and`, `or` and `not` join comparisons: `loss < 2`")
        if not condition and node.condition:
            raise self.wrong("a condition cannot be compared or computed with", place)
        if number and node.kind == "text":
            raise self.wrong("text cannot be computed with", place)

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _read(self) -> Iterator[_Token]:
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                remedy = "compare with `==`" if self._text[at] == "=" else None
                raise self.wrong(f"`{self._text[at]}` cannot be read here", at, remedy)
            kind = match.lastgroup
            yield _Token(kind, match[kind], match.start(kind))
            at = match.end()
        yield _Token("end", "", end)


def _names(node: Node) -> Iterator[str]:
    if node.kind == "name":
        yield node.words[0]
    for part in node.parts:
        yield from _names(part)


def _holds(whole: Expression, node: Node, values: Mapping[str, Value], shown: list[str]) -> bool:
    if node.kind == "compare":
        sides = [_value(part, values, whole) for part in node.parts]
        shown.append(" ".join(_woven([_shown(side) for side in sides], node.words)))
        kinds = {isinstance(side, str) for side in sides}
        if len(kinds) == 2 or (True in kinds and set(node.words) - {"==", "!="}):
            raise UserError(
                f"text and a number cannot be compared, nor texts by size: `{shown[-1]}` in `{whole.text}`",
                where="--require",
                remedy="compare text with text: `state == 'succeeded'`",
            )
        return all(_COMPARISONS[word](*sides[place : place + 2]) for place, word in enumerate(node.words))
    # All parts are looked at, so that the line has the values of each.
    parts = [_holds(whole, part, values, shown) for part in node.parts]
    if node.kind == "not":
        return not parts[0]
    return all(parts) if node.kind == "and" else any(parts)


def _woven(sides: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    yield sides[0]
    for word, side in zip(words, sides[1:], strict=True):
        yield word
        yield side


def _shown(value: Value) -> str:
    return repr(value) if isinstance(value, str) else f"{value:.6g}"


def _value(node: Node, values: Mapping[str, Value], whole: Expression) -> Value:
    if node.kind in ("number", "text"):
        return node.value
    if node.kind == "name":
        return values[node.words[0]]
    return _number(node, values, whole)


def _number(node: Node, values: Mapping[str, Value], whole: Expression) -> float:
    numbers = []
    for part in node.parts:
        value = _value(part, values, whole)
        if isinstance(value, str):
            raise UserError(f"text cannot be computed with: {value!r} in `{whole.text}`", where="--require")
        numbers.append(value)
    if node.kind == "sign":
        return -numbers[0] if node.words[0] == "-" else numbers[0]
    if node.kind == "call":
        return _FUNCTIONS[node.words[0]](numbers)
    result = numbers[0]
    for word, number in zip(node.words, numbers[1:], strict=True):
        if word == "/" and number == 0:
            raise NoValueError("it divides by zero")
        result = _ARITHMETIC[word](result, number)
        if not math.isfinite(result):
            raise NoValueError("a value in it is too large")
    return result
