"""The results of a sweep as rows."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from runner.control.sweeping.status import read_sweep
from runner.errors import UserError
from runner.recipe.suggestions import closest
from runner.storage.store import Store
from runner.sweeps.views.overview import Overview, leaderboard, make_overview


def sorted_rows(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """Return rows in the order of a column, upwards; downwards with ``-`` before its name. Empty cells come last.

    Raises:
        UserError: there is no such column.
    """
    name = by.removeprefix("-")
    if rows and name not in rows[0]:
        near = closest(name, rows[0])
        remedy = f"did you mean `{near}`?" if near else f"the columns are {', '.join(rows[0])}"
        raise UserError(f"there is no column `{name}`", where="--sort", remedy=remedy)
    filled = [row for row in rows if row[name] is not None]
    empty = [row for row in rows if row[name] is None]
    numbers = all(isinstance(row[name], int | float) for row in filled)
    filled.sort(key=lambda row: row[name] if numbers else str(row[name]), reverse=by.startswith("-"))
    return [*filled, *empty]


def sweep_overview(store: Store, sweep_id: str) -> Overview:
    """Return a sweep at a glance, its trials in the order of how good they are.

    Raises:
        NotFound, DamagedRecord: the sweep cannot be read.
    """
    definition, state = read_sweep(store, sweep_id)
    overview = make_overview(definition, state, now=datetime.now(UTC))
    return dataclasses.replace(overview, trials=leaderboard(overview))
