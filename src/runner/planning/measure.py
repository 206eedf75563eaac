"""Measure the text of training rows on this machine, for the plan: how many there are and how long they are."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.fit.row_lengths import RowLengths
from runner.recipe.inputs.datasets import local_files
from runner.recipe.inputs.local_rows import can_read, rows_of
from runner.recipe.recipe import DataSource, Recipe

MOST_ROWS = 20_000
MOST_BYTES = 64 << 20
"""Of each entry no more is read; of what is beyond it, the number of rows is estimated from the files' size."""
_TEXT = ("messages", "conversations", "prompt", "question", "instruction", "input", "text", "completion", "answer")
_ANSWERS = ("chosen", "rejected", "output", "response")
_PROMPTS = ("prompt", "question", "instruction", "input")


def measure_rows(recipe: Recipe) -> RowLengths | None:
    """Return the lengths of a recipe's training rows; None unless all of its data is on this machine and readable."""
    found = [_measure(source) for source in recipe.data.train]
    measured = [each for each in found if each is not None]
    if not measured or len(measured) < len(found):
        return None
    rows = sum(each.rows for each in measured)
    return RowLengths(
        rows=rows,
        mean_bytes=sum(each.rows * each.mean_bytes for each in measured) / max(1, rows),
        longest_bytes=max(each.longest_bytes for each in measured),
        longest_prompt_bytes=max(each.longest_prompt_bytes for each in measured),
        complete=all(each.complete for each in measured),
    )


def _measure(source: DataSource) -> RowLengths | None:
    if source.template or source.think or source.filter:
        return None  # its text is not that of its columns, or not all of its rows are trained on
    try:
        files = local_files(source)
        if not files or not can_read(files):
            return None
        sizes = [_sizes(row.row) for row in itertools.islice(rows_of(files), MOST_ROWS + 1)]
    except (UserError, OSError):
        return None  # a check says what is wrong with it
    if not sizes:
        return None
    read, complete = sizes[:MOST_ROWS], len(sizes) <= MOST_ROWS
    rows = len(read)
    total = sum(size for size, _ in read)
    if not complete:
        rows = max(rows, round(rows * sum(Path(file).stat().st_size for file in files) / max(1, total)))
    if isinstance(source.sample, float):
        rows = int(rows * source.sample)
    elif isinstance(source.sample, int) and not isinstance(source.sample, bool):
        rows = min(rows, source.sample)
    return RowLengths(
        rows=max(1, rows),
        mean_bytes=total / len(read),
        longest_bytes=max(size for size, _ in read),
        longest_prompt_bytes=max(prompt for _, prompt in read),
        complete=complete,
    )


def _sizes(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return the bytes of a row's text and of its prompt. Of two answers the longer one counts."""
    known = [name for name in (*_TEXT, *_ANSWERS) if name in row]
    if not known:
        whole = sum(map(_bytes, row.values()))
        return whole, whole
    prompts = sum(_bytes(row[name]) for name in _PROMPTS if name in row)
    answers = max((_bytes(row[name]) for name in _ANSWERS if name in row), default=0)
    whole = sum(_bytes(row[name]) for name in known if name in _TEXT) + answers
    return whole, prompts or whole


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_bytes, value))
    return 0
