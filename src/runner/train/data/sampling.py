"""Which rows of a source are taken: those that its `filter` lets through, and of those the ones that `sample` draws."""

import json
import random
from collections import Counter
from typing import Any

from datasets import Dataset

from runner.errors import UserError
from runner.recipe.recipe import DataSource

_MOST_VALUES = 8


def select_rows(dataset: Dataset, source: DataSource, where: str, seed: int, notes: list[str]) -> Dataset:
    """The rows of one entry, in the order of the source (the mixture is shuffled as a whole). Never empty.

    Args:
        dataset: all of its rows.
        source: the entry.
        where: its place in the recipe, for errors; with the seed, it decides what is drawn.
        seed: the run's.
        notes: added to, where fewer rows are taken than were asked for.

    Raises:
        UserError: `filter` names no column, or lets no row through.
    """
    return _sample(_filtered(dataset, source, where), source, where, seed, notes)


def _filtered(dataset: Dataset, source: DataSource, where: str) -> Dataset:
    wanted = source.filter or {}
    missing = [column for column in wanted if column not in dataset.column_names]
    if missing:
        raise UserError(
            f"{source.path} has no column {', '.join(missing)}",
            where=f"{where}.filter",
            remedy=f"Its columns: {', '.join(dataset.column_names)}.",
        )
    left = list(range(len(dataset)))
    for column, value in wanted.items():
        keys = {_key(one) for one in (value if isinstance(value, list | tuple) else [value])}
        there = [_key(one) for one in dataset[column][:]]
        fitting = [index for index in left if there[index] in keys]
        if not fitting:
            raise UserError(
                f"no row of {source.path} is left where {column} is {_shown(value)}",
                where=f"{where}.filter",
                remedy=f"In {column} stand {_values(there, left)}.",
            )
        left = fitting
    return dataset if len(left) == len(dataset) else dataset.select(left)


def _key(value: Any) -> str:
    """What values are compared by: 1 and 1.0 are one number, and neither is "1" or true."""
    number = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if number else value, sort_keys=True, default=str)


def _shown(value: Any) -> str:
    return " or ".join(_key(one) for one in value) if isinstance(value, list | tuple) else _key(value)


def _values(there: list[str], rows: list[int]) -> str:
    """What stands in a column, the most frequent first."""
    counted = Counter(there[row] if len(there[row]) <= 60 else f"{there[row][:60]}…" for row in rows)
    shown = ", ".join(f"{value} ({count}x)" for value, count in counted.most_common(_MOST_VALUES))
    return shown + (f", and {len(counted) - _MOST_VALUES} others" if len(counted) > _MOST_VALUES else "")


def _sample(dataset: Dataset, source: DataSource, where: str, seed: int, notes: list[str]) -> Dataset:
    if source.sample is None:
        return dataset
    count = source.sample if isinstance(source.sample, int) else max(1, round(source.sample * len(dataset)))
    if count >= len(dataset):
        if count > len(dataset):
            notes.append(f"{where}: all {len(dataset)} rows are taken; there are no {count} to draw.")
        return dataset
    return dataset.select(sorted(random.Random(f"{seed}:{where}").sample(range(len(dataset)), count)))
