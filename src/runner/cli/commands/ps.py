"""``runner ps``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import damaged_row, print_json, run_row, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    from runner.control.ps import list_and_refresh

    damaged: dict[str, Damaged] = {}
    runs = list_and_refresh(store, on_damaged=damaged.__setitem__)
    shown = [run for index, run in enumerate(runs) if show_all or index < _NEWEST or not run.terminal]
    if as_json:
        rows = [damaged_row(run_id, error) for run_id, error in damaged.items()]
        print_json([run_row(run) for run in shown] + rows)
    elif shown or damaged:
        show(_table(shown, list(damaged)))
    else:
        say(f"{_nothing_in(store)}; `runner launch quickstart` starts one")
    for run_id, error in damaged.items():
        say(f"{run_id} is damaged in the store: {error}")
    if len(shown) < len(runs):
        say(f"{len(runs) - len(shown)} older runs have ended; `runner ps --all` lists them")


def _nothing_in(store: "Store") -> str:
    """Say that a store has no runs, or that it does not exist: a typo in its name is the likeliest cause."""
    if "://" not in store.url and not Path(store.url).exists():
        return f"there is no folder {store.url}, and so there are no runs"
    return f"no runs in {store.url}"


def _table(runs: "list[RunStatus]", damaged: "Sequence[str]" = ()) -> str:
    from runner.reports.tables import Column, duration, fitting_table, number, output_width

    now = datetime.now(UTC)
    created = [datetime.fromisoformat(run.created_at) for run in runs]
    ages = [duration((now - moment).total_seconds()) for moment in created]
    took = [duration(_seconds_between(moment, run.ended_at)) for run, moment in zip(runs, created, strict=True)]
    steps = [f"{'-' if run.step is None else run.step}/{run.max_steps or '-'}" for run in runs]
    states = [f"{run.state}, {run.stalled}" if run.stalled else run.shown_state for run in runs]
    unknown = ["-"] * len(damaged)
    stages = [Column(title="STAGE", cells=[_stage(run) for run in runs] + unknown)]
    columns = [
        Column(title="RUN", cells=[run.run_id for run in runs] + list(damaged)),
        Column(title="STATE", cells=states + ["damaged"] * len(damaged)),
        *(stages if any(run.stage_count for run in runs) else []),
        Column(title="STEP", cells=steps + unknown, right=True),
        Column(title="ATTEMPTS", cells=[str(run.attempts) for run in runs] + unknown, right=True),
        Column(title="AGE", cells=ages + unknown, right=True),
        Column(title="LOSS", cells=[number(run.loss) for run in runs] + unknown, right=True, optional=True),
        Column(title="TOOK", cells=took + unknown, right=True, optional=True),
        Column(title="WHERE", cells=[_where(run) for run in runs] + unknown, optional=True),
        Column(title="RECIPE", cells=[run.recipe for run in runs] + unknown, optional=True),
    ]
    return fitting_table(columns, output_width())


def _seconds_between(begin: datetime, end: str | None) -> float | None:
    """Return how long something took; None if it has not ended, or its record says no time."""
    try:
        return (datetime.fromisoformat(end) - begin).total_seconds() if end else None
    except (ValueError, TypeError):
        return None


def _where(run: "RunStatus") -> str:
    """Return the infrastructure and the GPUs: ``aws L4:1``."""
    gpus = " or ".join(f"{name}:{count}" for name, count in (run.accelerators or {}).items())
    return f"{run.infra} {gpus}".rstrip()


def _stage(run: "RunStatus") -> str:
    return f"{run.stage_number}/{run.stage_count} {run.stage}" if run.stage else "-"
