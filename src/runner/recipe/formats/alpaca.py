"""Rows with ``instruction``, ``input`` and ``output``, and LLaMA-Factory's ``system`` and ``history`` beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from runner.recipe.formats.layouts import NeedsPairs, Row, UnusableRow
from runner.recipe.formats.tools import parse_json
from runner.recipe.formats.turns import with_system
from runner.recipe.recipe import Format

ALPACA: tuple[Format, ...] = ("alpaca", "stanford_alpaca")
"""The formats of such rows: as turns, and in Alpaca's own wording."""

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
    """Return prompt and completion as messages: the input in the line after the instruction, as LLaMA-Factory does.

    Raises:
        UnusableRow: a part is missing.
    """
    instruction, _, output = _parts(row)
    return _as_messages(row, "\n".join(filter(None, (instruction, _input(row)))), output)


def pair_in_messages(row: Mapping[str, Any]) -> Row:
    """Return the parts of `alpaca_pair` as messages, without the wording: for rows that it has no place for.

    Raises:
        UnusableRow: a part is missing.
    """
    instruction, further, output = _parts(row)
    return _as_messages(row, f"{instruction}\n\n{further}" if further else instruction, output)


def _as_messages(row: Mapping[str, Any], request: str, output: str) -> Row:
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
    return text_of(row, "instruction"), _input(row).strip(), text_of(row, "output")


def _input(row: Mapping[str, Any]) -> str:
    further = row.get("input")
    return further if isinstance(further, str) and further.strip() else ""


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
