"""``runner checkpoints``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.control.results.checkpoints import StoredCheckpoint
    from runner.storage.store import Store


@click.command()
@run_argument
@json_option
@store_option
def checkpoints(store: "Store", run: str, as_json: bool) -> None:
    """List a run's checkpoints.

    The newest comes first. Each can be pulled, measured, talked to and exported: `--checkpoint STEP` of `runner pull`,
    `eval`, `chat` and `export`.

    \b
    Example:
      runner checkpoints last
      runner pull last --checkpoint best
    """
    from runner.control.results.checkpoints import list_checkpoints
    from runner.reports.tables import Column, duration, fitting_table, number, output_width, size
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    found = list_checkpoints(store, run_id)
    now = datetime.now(UTC)
    if as_json:
        print_json(
            [
                {
                    "checkpoint": str(one.name),
                    "stage": one.name.stage,
                    "step": one.name.step,
                    "metric": one.metric,
                    "value": one.value,
                    "loss": one.loss,
                    "bytes": one.size,
                    "best": one.is_best,
                    "last": index == 0,
                    "whole_weights": one.has_weights,
                    "committed_at": one.committed_at.astimezone(UTC).isoformat(timespec="seconds"),
                    "problem": one.problem,
                }
                for index, one in enumerate(found)
            ]
        )
        return
    if not found:
        say(f"{run_id} has no checkpoint")
        return
    metric = next((one.metric for one in found if one.metric), None) or "metric"
    ages = [duration((now - one.committed_at).total_seconds()) for one in found]
    notes = [
        one.problem or ", ".join([*(["best"] if one.is_best else []), *([] if one.has_weights else ["weights split"])])
        for one in found
    ]
    columns = [
        *([Column(title="STAGE", cells=[one.name.stage for one in found])] if _stages(found) else []),
        Column(title="STEP", cells=[str(one.name.step) for one in found], right=True),
        Column(title=metric.upper(), cells=[number(one.value) for one in found], right=True),
        Column(title="SIZE", cells=[size(one.size) for one in found], right=True),
        Column(title="AGE", cells=ages, right=True),
        *([Column(title="", cells=notes)] if any(notes) else []),
        Column(title="NAME", cells=[str(one.name) for one in found], optional=True),
    ]
    show(fitting_table(columns, output_width()))


def _stages(found: "list[StoredCheckpoint]") -> bool:
    return len({one.name.stage for one in found}) > 1
