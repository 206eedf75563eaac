"""Answers with reasoning: in ``<think>`` tags, with "Final Answer:" after it.

Reasoning models (DeepSeek-R1, Qwen3) write this way, and their chat templates know the tags.
"""

import re
from collections.abc import Mapping
from typing import Any

from runner.recipe.formats.convert import Converter
from runner.recipe.formats.layouts import Row, UnusableRow
from runner.recipe.formats.templates.template import fill_template

ANSWER = "<think>\n{reasoning}\n</think>\n\nFinal Answer: {answer}"
"""An answer that thinks."""
_BOXED = re.compile(r"\\boxed\s*\{")
# GSM8K's mark, and two common ways to end a solution, "the answer is therefore 5" included.
_CONCLUSION = re.compile(
    r"####\s*(?P<marked>[^\n]+)|\b(?:final\s+)?answer(?:\s+is(?:\s+therefore)?\b\s*:?|\s*:)\s*(?P<stated>[^\n]+)",
    re.IGNORECASE,
)


def from_fields(texts: Mapping[str, str]) -> Converter:
    """Return a function that makes question and answer, as messages, of a row; it raises `UnusableRow` without a part.

    Args:
        texts: ``prompt``, ``reasoning`` and perhaps ``answer``, each with ``{field}`` for the fields of a row.
    """

    def convert(row: Mapping[str, Any]) -> list[Row]:
        parts = fill_template(texts, row)
        prompt = parts["prompt"].strip()
        if not prompt:
            raise UnusableRow("without a prompt")
        if "answer" in parts and not parts["answer"].strip():
            raise UnusableRow("without a final answer")
        return [_pair([{"role": "user", "content": prompt}], parts["reasoning"], parts.get("answer"), None)]

    return convert


def from_conversation(convert: Converter) -> Converter:
    """Return a function that splits a conversation before its last answer, and brings that answer to our form.

    Args:
        convert: makes a conversation of a row.
    """

    def split(row: Mapping[str, Any]) -> list[Row]:
        [conversation] = convert(row)
        messages, tools = conversation["messages"], conversation["tools"]
        last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
        content = str(messages[last]["content"])
        prompt = messages[:last]
        if not prompt:
            raise UnusableRow("without a prompt")
        if "</think>" in content:
            reasoning, _, answer = content.rpartition("</think>")
            pair = _pair(prompt, reasoning.replace("<think>", ""), concluding_answer(answer) or answer, tools)
        else:
            pair = _pair(prompt, content, None, tools)
        others = {key: value for key, value in conversation.items() if key not in ("messages", "tools")}
        return [{**pair, **others}]

    return split


def _pair(prompt: list[Row], reasoning: str, answer: str | None, tools: Any) -> Row:
    reasoning = reasoning.strip()
    if not reasoning:
        raise UnusableRow("without reasoning")
    answer = (concluding_answer(reasoning) if answer is None else answer) or ""
    if not answer.strip():
        raise UnusableRow("without a final answer")
    content = ANSWER.format(reasoning=reasoning, answer=answer.strip())
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": content}], "tools": tools}


def concluding_answer(text: str) -> str | None:
    r"""Return the answer of a solution: the last ``\boxed{…}``, else what follows the last ``####`` or "the answer is".

    None if it has neither. The model is trained on it, so it ends with its sentence. `runner.train.evaluation.answers`,
    which compares answers, accepts more forms.
    """
    boxes = list(_BOXED.finditer(text))
    if boxes:
        inner = _before_closing_brace(text[boxes[-1].end() :])
        if inner:
            return inner
    conclusions = [match["marked"] or match["stated"] for match in _CONCLUSION.finditer(text)]
    answer = conclusions[-1].strip().strip("*").strip() if conclusions else ""
    return re.split(r"\.(?=\s|$)", answer, maxsplit=1)[0].strip(" $*") or None


def _before_closing_brace(text: str) -> str | None:
    depth = 1
    for index, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return text[:index].strip() or None
    return None
