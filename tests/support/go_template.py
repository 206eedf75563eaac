"""Go's text/template, as far as Ollama's templates of chats use it, to render a `Modelfile`'s template in a test."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

_ACTION = re.compile(
    r'\{\{(?P<left>- )?\s*(?P<code>(?:"(?:[^"\\]|\\.)*"|[^"}]|\}(?!\}))*?)\s*(?P<right> -)?\}\}', re.DOTALL
)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()]+')
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "gt": lambda left, right: left > right,
    "not": lambda value: not value,
    "and": lambda *values: all(values),
    "len": len,
    "slice": lambda values, begin: values[begin:],
}


def go_render(template: str, messages: list[dict[str, str]]) -> str:
    """Return a conversation as Ollama renders it: `.Messages`, and `.System` from the system messages among them."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    data = {
        "System": system,
        "Messages": [{"Role": message["role"], "Content": message["content"]} for message in messages],
    }
    nodes, rest = _parse(list(_scan(template)))
    assert not rest, "an `end` too many"
    return _execute(nodes, data, {"$": data})


def template_of(modelfile: str) -> str:
    """Return the text of a `Modelfile`'s TEMPLATE, as Ollama's parser cuts it."""
    return modelfile.partition('TEMPLATE """')[2].partition('"""')[0]


def _scan(template: str) -> Iterator[tuple[str, str]]:
    """Yield ("text", …) and ("action", …), the white space cut as the trim markers say."""
    at, trimmed = 0, False
    for match in _ACTION.finditer(template):
        text = template[at : match.start()]
        text = text.lstrip() if trimmed else text
        yield "text", text.rstrip() if match["left"] else text
        yield "action", match["code"].strip()
        at, trimmed = match.end(), bool(match["right"])
    yield "text", template[at:].lstrip() if trimmed else template[at:]


def _parse(tokens: list[tuple[str, str]]) -> tuple[list[Any], list[tuple[str, str]]]:
    """Return the nodes up to the end of a block, and the tokens from that end on."""
    nodes: list[Any] = []
    while tokens:
        kind, text = tokens[0]
        if kind == "action" and (text == "end" or text.startswith("else")):
            return nodes, tokens
        tokens = tokens[1:]
        if kind == "action" and text.startswith("range "):
            body, tokens = _parse(tokens)
            assert tokens[0][1] == "end"
            tokens = tokens[1:]
            nodes.append(("range", text.removeprefix("range "), body))
        elif kind == "action" and text.startswith("if "):
            branches = []
            condition = text.removeprefix("if ")
            while True:
                body, tokens = _parse(tokens)
                branches.append((condition, body))
                (_, ending), tokens = tokens[0], tokens[1:]
                if ending == "end":
                    break
                condition = ending.removeprefix("else").strip().removeprefix("if ") or '"always"'
            nodes.append(("if", branches))
        else:
            nodes.append((kind, text))
    return nodes, []


def _execute(nodes: list[Any], dot: Any, variables: dict[str, Any]) -> str:
    text = ""
    for kind, *node in nodes:
        if kind == "text":
            text += node[0]
        elif kind == "if":
            chosen: list[Any] = next((body for condition, body in node[0] if _evaluate(condition, dot, variables)), [])
            text += _execute(chosen, dot, variables)
        elif kind == "range":
            names, _, values = node[0].partition(":=")
            index, item = (name.strip() for name in names.split(","))
            for number, value in enumerate(_evaluate(values, dot, variables)):
                text += _execute(node[1], value, {**variables, index: number, item: value})
        elif ":=" in node[0] and not node[0].startswith('"'):
            name, _, expression = node[0].partition(":=")
            variables[name.strip()] = _evaluate(expression, dot, variables)
        else:
            text += str(_evaluate(node[0], dot, variables))
    return text


def _evaluate(expression: str, dot: Any, variables: dict[str, Any]) -> Any:
    value, rest = _call(_WORD.findall(expression), dot, variables)
    assert not rest, rest
    return value


def _call(words: list[str], dot: Any, variables: dict[str, Any]) -> tuple[Any, list[str]]:
    if words[0] not in _FUNCTIONS:
        return _operand(words, dot, variables)
    arguments, rest = [], words[1:]
    while rest and rest[0] != ")":
        value, rest = _operand(rest, dot, variables)
        arguments.append(value)
    return _FUNCTIONS[words[0]](*arguments), rest


def _operand(words: list[str], dot: Any, variables: dict[str, Any]) -> tuple[Any, list[str]]:
    word, rest = words[0], words[1:]
    if word == "(":
        value, rest = _call(rest, dot, variables)
        assert rest[0] == ")"
        return value, rest[1:]
    if word.startswith('"'):
        return json.loads(word), rest
    if word.isdigit():
        return int(word), rest
    name, *fields = word.split(".")
    value = variables[name] if name else dot
    for field in fields:
        value = value[field]
    return value, rest
