"""``runner ps``."""

import fnmatch
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import damaged_row, print_json, run_row, say, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.runs.marks.marks import Marks
    from runner.runs.status import RunStatus
    from runner.storage.manifest import Damaged
    from runner.storage.store import Store

_NEWEST = 20
_LONGEST_NOTE = 48
_STATES = ("pending", "running", "interrupted", "paused", "succeeded", "failed", "cancelled")


@click.command()
@click.option("--all", "-a", "show_all", is_flag=True, help="Every run, not only active ones and the 20 newest.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Only runs with this tag. May be repeated: with all.")
@click.option(
    "--state",
    "states",
    metavar="STATE",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only runs in this state: pending, running, interrupted, paused, succeeded, failed or cancelled. May be "
    "repeated: in any of them.",
)
@click.option(
    "--recipe", "recipes", metavar="NAME", multiple=True, help="Only runs of this recipe, or of those that fit 'NAME*'."
)
@click.option("--since", metavar="WHEN", help="Only runs launched since then: 12h, 7d, or 2026-11-28.")
@json_option
@store_option
def ps(
    store: "Store",
    show_all: bool,
    tags: tuple[str, ...],
    states: tuple[str, ...],
    recipes: tuple[str, ...],
    since: str | None,
    as_json: bool,
) -> None:
    """List runs, the newest first.

    \b
    Example:
      runner ps
      runner ps --tag keep --state succeeded
      runner ps --recipe 'smollm2-*' --since 7d
      runner ps --all --json
    """
    from runner.cli.moments import moment_written
    from runner.control.ps import list_and_refresh
    from runner.runs.keeping.removals import removals
    from runner.runs.marks.marks import marks_of

    begin = None if since is None else moment_written(since, "--since")
    damaged: dict[str, Damaged] = {}
    runs = list_and_refresh(store, on_damaged=damaged.__setitem__)
    filtered = bool(tags or states or recipes or begin)
    marks = marks_of(store) if tags else None

    def fits(run: "RunStatus") -> bool:
        return (
            (not states or run.shown_state in states)
            and (not recipes or any(fnmatch.fnmatchcase(run.recipe, recipe) for recipe in recipes))
            and (begin is None or datetime.fromisoformat(run.created_at) >= begin)
            and (marks is None or (run.run_id in marks and marks[run.run_id].tags.issuperset(tags)))
        )

    if filtered:
        shown = [run for run in runs if fits(run)]
    else:
        shown = [run for index, run in enumerate(runs) if show_all or index < _NEWEST or not run.terminal]
    if marks is None:
        marks = marks_of(store, [run.run_id for run in shown])
    removed = {} if filtered else removals(store)
    broken = {} if filtered else damaged
    if as_json:
        rows = [run_row(run) | _marks_row(marks.get(run.run_id)) for run in shown]
        rows += [damaged_row(run_id, error) | _marks_row(None) for run_id, error in broken.items()]
        rows += [
            damaged_row(run_id, Exception(_deleted(run_id))) | _marks_row(None) | {"state": "removing"}
            for run_id in removed
        ]
        print_json(rows)
    elif shown or broken or removed:
        odd = dict.fromkeys(broken, "damaged") | dict.fromkeys(removed, "removing")
        show(_table(shown, odd, marks))
    elif filtered and runs:
        say(f"none of the {len(runs)} runs fits; `runner ps --all` lists them")
    else:
        say(f"{_nothing_in(store)}; `runner launch quickstart` starts one")
    for run_id, error in damaged.items():
        say(f"{run_id} is damaged in the store: {error}")
    for run_id in removed:
        say(f"{run_id}: {_deleted(run_id)}")
    if len(shown) < len(runs) and not filtered:
        say(f"{len(runs) - len(shown)} older runs have ended; `runner ps --all` lists them")


def _deleted(run_id: str) -> str:
    return f"it is being deleted, or that was cut short: `runner rm {run_id}` finishes it"


def _marks_row(marks: "Marks | None") -> dict[str, Any]:
    return {"tags": sorted(marks.tags) if marks else [], "note": marks.note if marks else None}


def _nothing_in(store: "Store") -> str:
    """Say that a store has no runs, or that it does not exist: a typo in its name is the likeliest cause."""
    if "://" not in store.url and not Path(store.url).exists():
        return f"there is no folder {store.url}, and so there are no runs"
    return f"no runs in {store.url}"


def _table(runs: "list[RunStatus]", odd: Mapping[str, str], marks: "Mapping[str, Marks]") -> str:
    from runner.reports.tables import Column, duration, fitting_table, number, output_width
    from runner.runs.measured.spending import in_dollars

    now = datetime.now(UTC)
    unknown = ["-"] * len(odd)
    columns: list[Column] = []

    def column(
        title: str,
        cell: "Callable[[RunStatus], str]",
        *,
        right: bool = False,
        optional: bool = True,
        always: bool = True,
    ) -> None:
        cells = [cell(run) for run in runs]
        if always or any(text != "-" for text in cells):
            columns.append(Column(title=title, cells=cells + unknown, right=right, optional=optional))

    def age(run: "RunStatus") -> str:
        return duration((now - datetime.fromisoformat(run.created_at)).total_seconds())

    def took(run: "RunStatus") -> str:
        return duration(_seconds_between(datetime.fromisoformat(run.created_at), run.ended_at))

    def tags(run: "RunStatus") -> str:
        return ",".join(sorted(marks[run.run_id].tags)) or "-" if run.run_id in marks else "-"

    def note(run: "RunStatus") -> str:
        text = " ".join((marks[run.run_id].note or "-").split()) if run.run_id in marks else "-"
        return text if len(text) <= _LONGEST_NOTE else text[: _LONGEST_NOTE - 1] + "…"

    columns.append(Column(title="RUN", cells=[run.run_id for run in runs] + list(odd)))
    states = [f"{run.state}, {run.stalled}" if run.stalled else run.shown_state for run in runs]
    columns.append(Column(title="STATE", cells=states + list(odd.values())))
    if any(run.stage_count for run in runs):
        column("STAGE", _stage)
    column("STEP", lambda run: f"{'-' if run.step is None else run.step}/{run.max_steps or '-'}", right=True)
    column("LOSS", lambda run: number(run.loss), right=True, always=False)
    column("EVAL LOSS", lambda run: number(run.eval_loss), right=True, always=False)
    column("AGE", age, right=True)
    column("TOOK", took, right=True, always=False)
    column("COST", lambda run: "-" if run.cost is None else in_dollars(run.cost), right=True, always=False)
    column("GPU", _gpu, always=False)
    column("TAGS", tags, always=False)
    column("RECIPE", lambda run: run.recipe)
    column("WHERE", lambda run: run.infra)
    column("ATTEMPTS", lambda run: str(run.attempts), right=True)
    column("NOTE", note, always=False)
    return fitting_table(columns, output_width())


def _seconds_between(begin: datetime, end: str | None) -> float | None:
    """Return how long something took; None if it has not ended, or its record says no time."""
    try:
        return (datetime.fromisoformat(end) - begin).total_seconds() if end else None
    except (ValueError, TypeError):
        return None


def _gpu(run: "RunStatus") -> str:
    """Return the GPU that a run was computed on, or those that it may get: ``NVIDIA L4``, ``L4:1``."""
    asked = " or ".join(f"{name}:{count:g}" for name, count in (run.accelerators or {}).items())
    return asked or run.device or "-"


def _stage(run: "RunStatus") -> str:
    return f"{run.stage_number}/{run.stage_count} {run.stage}" if run.stage else "-"
