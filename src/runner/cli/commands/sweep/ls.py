"""``runner sweep ls``."""

from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.storage.manifest import Damaged
    from runner.storage.store import Store

_NEWEST = 20


@click.command()
@click.option("--all", "-a", "show_all", is_flag=True, help="Every sweep, not only the 20 newest.")
@json_option
@store_option
def ls(store: "Store", show_all: bool, as_json: bool) -> None:
    """List sweeps, the newest first.

    \b
    Example:
      runner sweep ls
      runner sweep ls --json
    """
    from runner.control.sweeping.find import list_sweeps

    damaged: dict[str, Damaged] = {}
    sweeps, older = list_sweeps(store, most=None if show_all else _NEWEST, on_damaged=damaged.__setitem__)
    if as_json:
        rows = [_row(one) for one in sweeps]
        empty: dict[str, Any] = dict.fromkeys(rows[0] if rows else ("sweep_id", "state", "reason"))
        print_json(
            rows
            + [{**empty, "sweep_id": name, "state": "damaged", "reason": str(error)} for name, error in damaged.items()]
        )
    elif sweeps:
        show(_table(sweeps))
    elif not damaged:
        say(f"no sweeps in {store.url}; `runner sweep launch FILE` starts one")
    for name, error in damaged.items():
        say(f"{name} is damaged in the store: {error}")
    if older:
        say(f"{older} older sweeps; `runner sweep ls --all` lists them")


def _row(one: Any) -> dict[str, Any]:
    definition, best = one.definition, one.best
    return {
        "sweep_id": definition.sweep_id,
        "name": definition.name,
        "state": one.condition,
        "reason": one.reason,
        "created_at": definition.created_at,
        "trials": len(one.trials),
        "run_cap": one.run_cap,
        "metric": definition.metric,
        "best": None if best is None else best.number,
        "value": None if best is None else best.scores[max(best.scores)],
        "workers": len(one.workers),
        "dollars": round(one.spent, 4),
        "hours": round(one.hours, 4),
    }


def _table(sweeps: Any) -> str:
    from datetime import UTC, datetime

    from runner.reports.tables import Column, duration, fitting_table, number, output_width
    from runner.terminal import printable

    rows = [_row(one) for one in sweeps]
    now = datetime.now(UTC)
    ages = [duration((now - datetime.fromisoformat(row["created_at"])).total_seconds()) for row in rows]
    trials = [f"{row['trials']}/{row['run_cap'] or '-'}" for row in rows]
    columns = [
        Column(title="SWEEP", cells=[row["sweep_id"] for row in rows]),
        Column(title="STATE", cells=[row["state"] for row in rows]),
        Column(title="TRIALS", cells=trials, right=True),
        Column(title="BEST", cells=[number(row["value"], 5) for row in rows], right=True),
        Column(title="METRIC", cells=[printable(row["metric"]) for row in rows], optional=True),
        Column(title="AGE", cells=ages, right=True, optional=True),
        Column(title="WORKERS", cells=[str(row["workers"]) for row in rows], right=True, optional=True),
        Column(title="DOLLARS", cells=[f"{row['dollars']:.2f}" for row in rows], right=True, optional=True),
    ]
    return fitting_table(columns, output_width())
