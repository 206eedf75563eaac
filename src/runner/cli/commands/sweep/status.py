"""``runner sweep status``."""

from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option, store_option, sweep_argument
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.control.sweeping.status import SweepStatus
    from runner.storage.store import Store


@click.command()
@sweep_argument
@click.option("--all", "-a", "show_all", is_flag=True, help="Every trial, not only those under way and the 20 best.")
@json_option
@store_option
def status(store: "Store", sweep: str, show_all: bool, as_json: bool) -> None:
    """Show where a sweep stands: its rungs, its trials, and why each of them stopped or went on.

    \b
    Example:
      runner sweep status last
      runner sweep status last --all
    """
    from runner.control.sweeping.find import find_sweep
    from runner.control.sweeping.status import sweep_status

    found = sweep_status(store, find_sweep(store, sweep))
    if as_json:
        print_json(sweep_json(found))
        return
    left_out = _show(found, show_all)
    if left_out:
        say(f"{left_out} more trials; `--all` shows them")


def _show(found: "SweepStatus", show_all: bool) -> int:
    """Print a sweep; return how many trials were left out."""
    from runner.reports.sweep_tables import SHOWN, heading, rungs_table, summary_lines, trials_table
    from runner.reports.tables import output_width
    from runner.sweeps.views.overview import leaderboard, pick_rows

    overview, width = found.overview, output_width()
    parts = [heading(overview), "\n".join(summary_lines(overview, silence=found.silence))]
    if overview.trials and overview.definition.rungs:
        parts.append(rungs_table(overview, width))
    rows = leaderboard(overview)
    shown = rows if show_all else pick_rows(rows, best=SHOWN, most=2 * SHOWN)
    if shown:
        steps = {number: run.step for number, run in found.runs.items()}
        parts.append(trials_table(overview, shown, width, steps=steps))
    show("\n\n".join(parts))
    return len(rows) - len(shown)


def sweep_json(found: "SweepStatus") -> dict[str, Any]:
    """A sweep as `sweep status --json` prints it."""
    from runner.reports.sweep_tables import newest_value

    overview = found.overview
    definition, best = overview.definition, overview.best
    steps = [*definition.rungs, definition.max_steps]
    return {
        "sweep_id": definition.sweep_id,
        "name": definition.name,
        "state": overview.condition,
        "reason": overview.reason,
        "created_at": definition.created_at,
        "method": definition.method,
        "scheduler": definition.scheduler,
        "metric": definition.metric,
        "goal": definition.goal,
        "run_cap": overview.run_cap,
        "max_steps": definition.max_steps,
        "spent": {
            "dollars": round(overview.spent, 4),
            "hours": round(overview.hours, 4),
            "machine_hours": round(overview.machine_hours, 4),
        },
        "max_cost": overview.max_cost,
        "max_hours": overview.max_hours,
        "forecast": None
        if overview.forecast is None
        else {
            "dollars": round(overview.spent * overview.forecast, 4),
            "machine_hours": round(overview.machine_hours * overview.forecast, 4),
        },
        "best": None if best is None else best.number,
        "counts": dict(overview.outlooks),
        "known": overview.known,
        "workers": [
            {
                "name": worker.name,
                "host": worker.host,
                "accelerator": worker.accelerator,
                "dollars_per_hour": worker.dollars_per_hour,
                "joined_at": worker.joined_at,
                "last_sign_seconds": found.silence.get(worker.name),
            }
            for worker in overview.workers
        ],
        "workers_gone": overview.workers_gone,
        "rungs": [
            {
                "bracket": rung.bracket,
                "rung": rung.rung,
                "step": rung.step,
                "reached": rung.reached,
                "promoted": rung.promoted,
                "waiting": rung.waiting,
                "stopped": rung.stopped,
                "failed": rung.failed,
                "under_way": rung.heading,
                "best": rung.best,
                "value": rung.value,
            }
            for rung in overview.rungs
        ],
        "trials": [
            {
                "trial": row.trial.number,
                "run_id": row.run_id,
                "parameters": row.trial.values,
                "state": row.outlook,
                "why": row.why,
                "bracket": row.trial.bracket,
                "rung": row.trial.rung,
                "until_step": row.rung_step,
                "step": _step(found, row.trial.number, row.trial.step),
                "value": newest_value(row),
                "results": [
                    {"rung": rung, "step": steps[rung], "value": value} for rung, value in row.trial.scores.items()
                ],
                "worker": row.trial.worker,
                "failures": row.trial.failures,
                "interruptions": row.trial.interruptions,
                "seconds": round(row.trial.seconds, 3),
                "dollars": round(row.trial.cost, 6),
            }
            for row in overview.trials
        ],
    }


def _step(found: "SweepStatus", number: int, known: int) -> int:
    run = found.runs.get(number)
    return known if run is None or run.step is None else max(run.step, known)
