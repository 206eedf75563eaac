"""``runner ps``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option

if TYPE_CHECKING:
    from runner.runs.status import RunStatus
    from runner.storage.manifest import Damaged
    from runner.storage.store import Store

_NEWEST = 20


@click.command()
@click.option("--all", "-a", "show_all", is_flag=True, help="Every run, not only active ones and the 20 newest.")
@json_option
@store_option
def ps(store: "Store", show_all: bool, as_json: bool) -> None:
    """List runs, the newest first.

    \b
    Example:
      runner ps
      runner ps --all --json
    """
    from runner.cli.output import print_json, run_row
    from runner.control.ps import list_and_refresh

    runs = list_and_refresh(store, on_damaged=_say_left_out)
    shown = [run for index, run in enumerate(runs) if show_all or index < _NEWEST or not run.terminal]
    if as_json:
        print_json([run_row(run) for run in shown])
    elif shown:
        click.echo(_table(shown))
    else:
        click.echo(f"no runs in {store.url}; `runner launch quickstart` starts one", err=True)
    if len(shown) < len(runs):
        click.echo(f"{len(runs) - len(shown)} older runs have ended; `runner ps --all` lists them", err=True)


def _say_left_out(run_id: str, error: "Damaged") -> None:
    click.echo(f"{run_id} is left out, damaged in the store: {error}", err=True)


def _table(runs: "list[RunStatus]") -> str:
    from runner.reports.tables import duration, text_table

    now = datetime.now(UTC)
    staged = any(run.stage_count for run in runs)
    rows = [
        [
            run.run_id,
            f"{run.state}, {run.stalled}" if run.stalled else run.state,
            *([_stage(run)] if staged else []),
            f"{'-' if run.step is None else run.step}/{run.max_steps or '-'}",
            str(run.attempts),
            duration((now - datetime.fromisoformat(run.created_at)).total_seconds()),
        ]
        for run in runs
    ]
    stage = ["STAGE"] if staged else []
    last = 4 + len(stage)
    return text_table(["RUN", "STATE", *stage, "STEP", "ATTEMPTS", "AGE"], rows, right=range(last - 2, last + 1))


def _stage(run: "RunStatus") -> str:
    return f"{run.stage_number}/{run.stage_count} {run.stage}" if run.stage else "-"
