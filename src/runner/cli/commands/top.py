"""``runner top``."""

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, run_row, say, show

if TYPE_CHECKING:
    from runner.reports.top import Alive
    from runner.storage.store import Store


@click.command()
@click.option("--once", is_flag=True, help="Print it once. So it is too where no terminal is.")
@json_option
@store_option
def top(store: "Store", once: bool, as_json: bool) -> None:
    """Watch all that is alive on one screen.

    Arrows choose a run or a sweep; l shows a run's log, c cancels a run or stops a sweep (it asks), r says how to
    resume it, q leaves.

    \b
    Example:
      runner top
      runner top --once
      runner top --json
    """
    from runner.control.watching.alive import AliveReader

    reader = AliveReader(store)
    if as_json:
        print_json(_as_json(reader.look()))
    elif once or not _has_screen():
        _show_once(store, reader.look())
    else:
        from runner.cli.top_screen import watch

        watch(store, reader)


def _has_screen() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def _show_once(store: "Store", alive: "Alive") -> None:
    from runner.reports.drawing.sparkline import is_plain
    from runner.reports.tables import output_width
    from runner.reports.top import top_lines

    lines = top_lines(alive, now=datetime.now(UTC), width=output_width(), plain=is_plain(sys.stdout))
    if lines:
        show("\n".join(line.text for line in lines))
    else:
        say(f"nothing is alive in {store.url}; `runner launch quickstart` starts a run")
    for name, error in alive.damaged.items():
        say(f"{name} is damaged in the store: {error}")
    if alive.asleep:
        say(f"{alive.asleep} more wait or are interrupted; `runner ps` lists them")


def _as_json(alive: "Alive") -> dict[str, Any]:
    from runner.reports.top import run_facts

    now = datetime.now(UTC)
    return {
        "runs": [run_row(run.status) | run_facts(run, now=now) for run in alive.runs],
        "sweeps": [
            {
                "sweep_id": sweep.overview.definition.sweep_id,
                "state": sweep.overview.condition,
                "reason": sweep.overview.reason,
                "cost": sweep.overview.spent,
                "trials": [run_row(run.status) | run_facts(run, now=now) for run in sweep.trials],
            }
            for sweep in alive.sweeps
        ],
        "asleep": alive.asleep,
        "damaged": dict(alive.damaged),
    }
