"""Rows with ``instruction``, ``input`` and ``output``, and LLaMA-Factory's ``system`` and ``history`` beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from runner.recipe.formats.layouts import NeedsPairs, Row, UnusableRow
from runner.recipe.formats.tools import parse_json
from runner.recipe.formats.turns import with_system

# The wording of https://github.com/tatsu-lab/stanford_alpaca#data-release, to the letter. The line break at its end is
# part of the prompt, as in its successors: tokenizers that merge ":" and "\n" into one token then do so in both.
_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


def alpaca_pair(row: Mapping[str, Any]) -> Row:
    """Return prompt and completion as strings, in Alpaca's own wording.

    Raises:
        NeedsPairs: the row has a system prompt or a history, for which that wording has no place.
        UnusableRow: a part is missing.
    """
    if _system(row) or _history(row):
        raise NeedsPairs("`system` and `history` of Alpaca's rows are read as turns, without Alpaca's wording")
    instruction, further, output = _parts(row)
    wording = _WITH_INPUT if further else _WITHOUT_INPUT
    # Without leading white space, which would merge into one token with the line break before it.
    return {"prompt": wording.format(instruction=instruction, input=further), "completion": output.lstrip()}


def alpaca_messages(row: Mapping[str, Any]) -> Row:
    """Return prompt and completion as messages, without the wording.

    Raises:
        UnusableRow: a part is missing.
    """
    instruction, further, output = _parts(row)
    request = f"{instruction}\n\n{further}" if further else instruction
    turns = [*_history(row), {"role": "user", "content": request}]
    return {
        "prompt": with_system(turns, _system(row)),
        "completion": [{"role": "assistant", "content": output}],
        "tools": None,
    }


def text_of(row: Mapping[str, Any], column: str, *, may_be_empty: bool = False) -> str:
    """Return a column's text.

    Raises:
        UnusableRow: it has none.
    """
    value = row.get(column)
    if not isinstance(value, str):
        raise UnusableRow(f"without {column}" if value is None else f"whose {column} is not text")
    if not (may_be_empty or value.strip()):
        raise UnusableRow(f"with empty {column}")
    return value


def _parts(row: Mapping[str, Any]) -> tuple[str, str, str]:
    further = row.get("input")
    return text_of(row, "instruction"), further.strip() if isinstance(further, str) else "", text_of(row, "output")


def _system(row: Mapping[str, Any]) -> str | None:
    system = row.get("system")
    if system is not None and not isinstance(system, str):
        raise UnusableRow("whose system is not text")
    return system if system and system.strip() else None


def _history(row: Mapping[str, Any]) -> list[Row]:
    """Return the turns before the instruction: ``history`` is a list of pairs, a question and its answer."""
    history = row.get("history")
    if isinstance(history, str):
        history = parse_json(history, "a history") if history.strip() else None
    turns: list[Row] = []
    for pair in history or ():
        texts = list(pair) if isinstance(pair, Sequence) and not isinstance(pair, str) else []
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise UnusableRow("whose history is not pairs of a question and an answer")
        turns += [{"role": "user", "content": texts[0]}, {"role": "assistant", "content": texts[1]}]
    return turns
