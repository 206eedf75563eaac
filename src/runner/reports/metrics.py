"""A run's metrics for people and spreadsheets."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from runner.reports.tables import number, text_table

_COLUMNS = {
    "stage": "STAGE",
    "step": "STEP",
    "loss": "LOSS",
    "reward": "REWARD",
    "rewards/accuracies": "REWARD ACCURACY",
    "rewards/margins": "REWARD MARGIN",
    "eval_loss": "EVAL LOSS",
    "exact_match": "EXACT MATCH",
    "learning_rate": "LEARNING RATE",
    "grad_norm": "GRAD NORM",
    "tokens_per_second": "TOKENS/S",
}


_OF_METHOD = {"reward": "grpo", "rewards/accuracies": "dpo", "rewards/margins": "dpo"}
"""Columns of one method alone."""


def metrics_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a run's metrics as a table, with the columns that have a value; at least one record is given."""
    columns = {name: title for name, title in _COLUMNS.items() if any(name in record for record in records)}
    if len({record["stage"] for record in records}) == 1:
        del columns["stage"]
    values = [_with_words(record) for record in records]
    rows = [[number(record[name]) if record.get(name) is not None else "" for name in columns] for record in values]
    return text_table(list(columns.values()), rows, right=range("stage" in columns, len(columns)))


class MetricsLines:
    """A run's metrics as lines of equal columns, which can be printed before the next record is known.

    Args:
        recipe: the run's recipe, which says which columns there will be.
    """

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        absent = {"stage"} if not recipe.get("stages") else set()
        if not (recipe.get("evaluate") or {}).get("exact_match"):
            absent.add("exact_match")
        stages = recipe.get("stages") or [recipe]
        methods = {stage.get("method", recipe.get("method")) for stage in stages}
        absent |= {name for name, method in _OF_METHOD.items() if method not in methods}
        self._columns = {name: title for name, title in _COLUMNS.items() if name not in absent}
        self._widths = {name: max(len(title), 12 if name == "stage" else 8) for name, title in self._columns.items()}

    def header(self) -> str:
        """Return the line above the others."""
        return self._join(self._columns)

    def line(self, record: Mapping[str, Any]) -> str:
        """Return a record's line."""
        shown = _with_words(record)
        values = {name: shown.get(name) for name in self._columns}
        return self._join({name: "" if value is None else number(value) for name, value in values.items()})

    def _join(self, cells: Mapping[str, str]) -> str:
        aligned = (
            text.ljust(self._widths[name]) if name == "stage" else text.rjust(self._widths[name])
            for name, text in cells.items()
        )
        return "  ".join(aligned).rstrip()


def write_csv(records: Sequence[Mapping[str, Any]], file: TextIO) -> None:
    """Write a run's metrics as CSV, with every column that any record has."""
    rows = [_with_words(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _with_words(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the words for its values that are infinite or not a number, in their own columns."""
    finite = {name: value for name, value in record.items() if name != "not_finite"}
    return {**finite, **record.get("not_finite", {})}
