"""Strict YAML: the scalars of YAML 1.2, no duplicate keys, plain data only.

PyYAML scans and parses (with libyaml if it has it). The values are built here from its events, because its own
constructors follow YAML 1.1: ``2e-4`` is text, ``no`` is false, ``010`` is eight, ``2026-01-31`` is a date and
``1:30`` is ninety. Here duplicate keys, tags and keys that are not text are errors, and an alias bomb ends with an
error after `MAX_NODES` values.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from runner.errors import UserError
from runner.recipe.problems import RecipePath
from runner.recipe.recipe import Json

MAX_NODES = 20_000
"""The most values in one document, with aliases and merge keys expanded."""
MAX_DEPTH = 40
"""The deepest nesting of mappings and lists."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# The core schema of YAML 1.2.2, section 10.3.2.
_INT = re.compile(r"[-+]?[0-9]+")
_CODE = re.compile(r"0[0-9]+")
"""A zip code or the like: no one writes a number with zeros before it, and as a number it would lose them."""
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_DIGITS = 250
"""A number with more of them, in any base, may be too large for a float."""

_REMEDIES = (
    ("mapping values are not allowed", "put quotes around a value that contains `: `, or correct the indentation"),
    ("cannot start any token", "put quotes around a value that begins with this character"),
    ("while scanning an alias", "put quotes around a text that begins with `*`"),
    ("while scanning an anchor", "put quotes around a text that begins with `&`"),
    ("escape", "use single quotes, in which a backslash is a backslash"),
    ("quoted scalar", "close the quote that was opened there"),
    ("did not find expected ',' or ']'", "close the `[` that was opened there, and put commas between its values"),
    ("did not find expected ',' or '}'", "close the `{` that was opened there, and put commas between its values"),
    ("expected key", "correct the indentation: keys that belong together begin in the same column"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("block sequence", "correct the indentation: the dashes of a list belong in the same column"),
    ("expected '-' indicator", "correct the indentation: the dashes of a list belong in the same column"),
)


@dataclass(frozen=True)
class Document:
    """A mapping and its lines in the file."""

    data: dict[str, Json]
    """The values."""
    lines: dict[RecipePath, int] = field(default_factory=dict)
    """The line of each key and list entry, counted from 1."""


@dataclass(slots=True)
class _Node:
    line: int
    value: Any  # a scalar, list["_Node"], or dict[str, tuple[int, "_Node"]] with the line of each key
    plain: bool = False


def parse_document(text: str, *, name: str, needs: str = "name, method, model and data") -> Document:
    """Read the one mapping in `text`.

    Args:
        text: a YAML document.
        name: the file's name, for errors.
        needs: the keys that such a document has at least, for the error about an empty one.

    Raises:
        UserError: it is not YAML, or not of the strict kind; `where` is ``name:line:column``.
    """
    builder = _Builder(text, name)
    root = builder.build()
    if root is None or root.value is None:
        raise UserError("holds no settings", where=name, remedy=f"write at least {needs}")
    if not isinstance(root.value, dict):
        builder.fail(
            f"the file holds {_kind(root.value)} where `key: value` lines are expected",
            root.line,
            remedy="begin with a line such as `name: my-run`",
        )
    lines: dict[RecipePath, int] = {}
    data = builder.expand(root, (), lines)
    return Document(data, lines)


def parse_value(text: str, *, name: str) -> Json:
    """Parse one value as after ``key:`` in a recipe. Empty text is null.

    Unquoted text is returned unchanged, with any ``#``: a word on the command line has no comments.

    Raises:
        UserError: it is not a YAML value.
    """
    builder = _Builder(text, name)
    root = builder.build()
    if root is None:
        return None
    if root.plain and isinstance(root.value, str):
        return text.strip()
    return builder.expand(root, (), {})


class _Builder:
    """Builds the values of one document from the parser's events."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._anchors: dict[str, _Node | None] = {}
        self._nodes = 0

    def fail(self, what: str, line: int, column: int | None = None, *, remedy: str | None = None) -> NoReturn:
        where = f"{self._name}:{line}" + (f":{column}" if column is not None else "")
        raise UserError(what, where=where, remedy=remedy)

    def build(self) -> _Node | None:
        """Return the root of the graph of values; None for an empty document."""
        try:
            self._text.encode()
        except UnicodeEncodeError as error:
            raise UserError("is not valid Unicode text", where=self._name, remedy="save it as UTF-8") from error
        try:
            return self._document(yaml.parse(self._text, Loader=_LOADER))
        except yaml.MarkedYAMLError as error:
            self._explain(error)
        except yaml.YAMLError as error:  # a character that YAML forbids: ReaderError, which has no mark
            position = getattr(error, "position", 0)
            line = self._text.count("\n", 0, position) + 1
            code = getattr(error, "character", "")
            code = code if isinstance(code, int) else ord(code[:1] or "\0")
            self.fail(f"there is a control character (U+{code:04X})", line, remedy="remove it")

    def expand(self, node: _Node, path: RecipePath, lines: dict[RecipePath, int]) -> Any:
        """Return the plain values under `node`, with copies for aliases. Fills `lines`."""
        self._count(node.line)
        if len(path) > MAX_DEPTH:
            self.fail(f"values are nested more than {MAX_DEPTH} deep", node.line, remedy="write them out flat")
        if isinstance(node.value, list):
            values = []
            for index, item in enumerate(node.value):
                lines[(*path, index)] = item.line
                values.append(self.expand(item, (*path, index), lines))
            return values
        if isinstance(node.value, dict):
            mapping = {}
            for key, (line, item) in node.value.items():
                lines[(*path, key)] = line
                mapping[key] = self.expand(item, (*path, key), lines)
            return mapping
        return node.value

    def _count(self, line: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self.fail(
                f"more than {MAX_NODES} values, aliases (`*name`) written out",
                line,
                remedy="keep data in its own files and name them under `data:`",
            )

    def _document(self, events: Iterator[Any]) -> _Node | None:
        root: _Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                line = event.start_mark.line + 1 if event.start_mark else 1
                if root is not None:
                    self.fail("a second document begins here", line, remedy="keep one recipe in one file")
                if event.tags or (event.version and tuple(event.version) != (1, 2)):
                    self.fail("a `%` directive asks for other rules", line, remedy="remove it: YAML 1.2 is read")
                root = self._node(next(events), events, 0)
        self._nodes = 0
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> _Node:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line, column)
        if event.tag is not None:
            self.fail(
                f"the tag `{event.tag}` is not accepted", line, column, remedy="write the plain value without a tag"
            )
        self._count(line)
        if depth > MAX_DEPTH:
            self.fail(f"values are nested more than {MAX_DEPTH} deep", line, column, remedy="write them out flat")
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            node = _Node(line, self._scalar(event.value, line, column) if plain else event.value, plain)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = _Node(line, list(self._items(events, depth + 1)))
        else:
            node = _Node(line, self._mapping(events, depth + 1))
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _items(self, events: Iterator[Any], depth: int) -> Iterator[_Node]:
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            yield self._node(event, events, depth)

    def _mapping(self, events: Iterator[Any], depth: int) -> dict[str, tuple[int, _Node]]:
        own: dict[str, tuple[int, _Node]] = {}
        merged: dict[str, tuple[int, _Node]] = {}
        merge_line: int | None = None
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            line, column = event.start_mark.line + 1, event.start_mark.column + 1
            key = self._node(event, events, depth)
            value = self._node(next(events), events, depth)
            if key.plain and key.value == "<<":
                if merge_line is not None:
                    self.fail(
                        f"`<<` appears here and in line {merge_line}", line, column, remedy="write one: `<<: [*a, *b]`"
                    )
                merge_line = line
                merged = self._merge(value, line, column)
                continue
            if not isinstance(key.value, str):
                self.fail(
                    f"the key is {_kind(key.value)}, and keys are text",
                    line,
                    column,
                    remedy="put quotes around it" if not isinstance(key.value, list | dict) else "write a plain key",
                )
            if key.value in own:
                self.fail(
                    f"`{_short(key.value)}` appears here and in line {own[key.value][0]}",
                    line,
                    column,
                    remedy="keep one of the two",
                )
            own[key.value] = (line, value)
        return {**merged, **own} if merged else own

    def _merge(self, value: _Node, line: int, column: int) -> dict[str, tuple[int, _Node]]:
        sources = value.value if isinstance(value.value, list) else [value]
        merged: dict[str, tuple[int, _Node]] = {}
        for source in sources:
            if not isinstance(source.value, dict):
                self.fail("`<<` takes a mapping or a list of mappings", line, column, remedy="write `<<: *name`")
            for key, item in source.value.items():
                self._count(line)
                merged.setdefault(key, item)
        return merged

    def _alias(self, anchor: str, line: int, column: int) -> _Node:
        if anchor not in self._anchors:
            self.fail(
                f"`*{_short(anchor)}` refers to nothing: there is no `&{_short(anchor)}` above",
                line,
                column,
                remedy="name a value with `&` first, or put quotes around a text that begins with `*`",
            )
        node = self._anchors[anchor]
        if node is None:
            self.fail(f"`*{_short(anchor)}` contains itself", line, column, remedy="write the value out")
        return node

    def _scalar(self, text: str, line: int, column: int) -> Json:
        if text in _WORDS:
            return _WORDS[text]
        if len(text) > _MAX_DIGITS and any(kind.fullmatch(text) for kind in (_FLOAT, _OCTAL, _HEX)):
            self.fail(f"a number of {len(text)} digits", line, column, remedy="put quotes around it if it is text")
        if _CODE.fullmatch(text):
            return text
        if _INT.fullmatch(text):
            return int(text)
        if _OCTAL.fullmatch(text):
            return int(text[2:], 8)
        if _HEX.fullmatch(text):
            return int(text[2:], 16)
        number = float(text) if _FLOAT.fullmatch(text) else math.nan if _INFINITE.fullmatch(text) else None
        if number is not None and not math.isfinite(number):
            remedy = "write a finite one, or put quotes around it if it is text"
            self.fail(f"{text} is not a finite number", line, column, remedy=remedy)
        return text if number is None else number

    def _explain(self, error: yaml.MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "it cannot be read"
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        lines = self._text.splitlines()
        written = lines[line - 1] if line <= len(lines) else ""
        if "\t" in written[:column] and not written[: column - 1].strip():
            what, remedy = "the line is indented with a tab", "indent with spaces"
        else:
            what = f"is not valid YAML: {problem}" + (f" {error.context}" if error.context else "")
            remedies = (remedy for sign, remedy in _REMEDIES if sign in what)
            remedy = next(remedies, "correct this line or the one above it")
        raise UserError(what, where=f"{self._name}:{line}:{column}", remedy=remedy) from error


def _kind(value: Any) -> str:
    """Name the type of a value in words."""
    match value:
        case None:
            return "empty"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return "text"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
