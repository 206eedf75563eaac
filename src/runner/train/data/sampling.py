"""Select rows of a source by its `filter`, then by its `sample`."""

import random
from collections import Counter
from typing import Any

from datasets import Dataset

from runner.errors import UserError
from runner.recipe.formats.selection import compared, value_filter
from runner.recipe.recipe import DataSource

_SHOWN_VALUES = 8
"""Values of a column that a message lists at most."""
_SHOWN_CHARACTERS = 60
_BATCH_ROWS = 10_000


def select_rows(dataset: Dataset, source: DataSource, where: str, seed: int, notes: list[str]) -> Dataset:
    """Return the selected rows of one entry, in the order of the source (the mixture is shuffled later). Never empty.

    Args:
        dataset: all of its rows.
        source: the entry.
        where: its place in the recipe, for errors; together with the seed, it decides which rows `sample` takes.
        seed: the run's.
        notes: gets a sentence if there are fewer rows than `sample` asks for.

    Raises:
        UserError: `filter` names a column that does not exist, or excludes all rows.
    """
    return _sample(_filter(dataset, source, where), source, where, seed, notes)


def _filter(dataset: Dataset, source: DataSource, where: str) -> Dataset:
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
        is_wanted, counted = value_filter(value), Counter[str]()
        fitting: list[int] = []
        chosen = dataset.select_columns(column)
        # By batches: a column may not fit into memory.
        for start in range(0, len(left), _BATCH_ROWS):
            places = left[start : start + _BATCH_ROWS]
            for place, cell in zip(places, chosen[places][column], strict=True):
                if is_wanted(cell):
                    fitting.append(place)
                elif not fitting:
                    counted[compared(cell)[: _SHOWN_CHARACTERS + 1]] += 1
        if not fitting:
            raise UserError(
                f"no row of {source.path} is left where {column} is {_shown(value)}",
                where=f"{where}.filter",
                remedy=f"{column} holds {_values(counted)}.",
            )
        left = fitting
    return dataset if len(left) == len(dataset) else dataset.select(left)


def _shown(value: Any) -> str:
    return " or ".join(compared(item) for item in value) if isinstance(value, list | tuple) else compared(value)


def _values(counted: Counter[str]) -> str:
    """Return the values of a column for a message, the most frequent first."""
    shown = ", ".join(
        f"{value if len(value) <= _SHOWN_CHARACTERS else f'{value[:_SHOWN_CHARACTERS]}…'} ({count}x)"
        for value, count in counted.most_common(_SHOWN_VALUES)
    )
    return shown + (f", and {len(counted) - _SHOWN_VALUES} others" if len(counted) > _SHOWN_VALUES else "")


def _sample(dataset: Dataset, source: DataSource, where: str, seed: int, notes: list[str]) -> Dataset:
    if source.sample is None:
        return dataset
    count = source.sample if isinstance(source.sample, int) else max(1, round(source.sample * len(dataset)))
    if count >= len(dataset):
        if count > len(dataset):
            notes.append(f"{where}: all {len(dataset)} rows are taken; there are no {count} to draw.")
        return dataset
    return dataset.select(sorted(random.Random(f"{seed}:{where}").sample(range(len(dataset)), count)))
