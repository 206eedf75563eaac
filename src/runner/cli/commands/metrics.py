"""``runner metrics``."""

import io
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.runs.record_types.result import MetricRecord
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--tail", "-n", "tail", metavar="LINES", type=click.IntRange(min=0), help="Only the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the run ends or stops.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with every column there is.")
@json_option
@store_option
def metrics(store: "Store", run: str, tail: int | None, follow: bool, as_csv: bool, as_json: bool) -> None:
    """Print a run's metrics, one line per step.

    Evaluations come in between, as lines with an evaluation loss.

    \b
    Example:
      runner metrics last --tail 20
      runner metrics last -f
      runner metrics last --csv > metrics.csv
    """
    from runner.reports.metrics import metrics_table, write_csv
    from runner.runs.listing import find_run
    from runner.runs.metrics import read_metrics

    if follow and (as_csv or as_json):
        remedy = "leave --follow out, or follow the table"
        raise UserError("only the table can be followed", where="--follow", remedy=remedy)
    run_id = find_run(store, run)
    if follow:
        _follow(store, run_id, tail)
        return
    records = _last(read_metrics(store, run_id), tail)
    if as_json:
        print_json(records)
    elif as_csv:
        text = io.StringIO()
        write_csv(records, text)
        show(text.getvalue(), nl=False)
    elif records:
        show(metrics_table(records))
    if not records and tail != 0:
        say(f"{run_id} has no metrics yet")


def _last(records: "Sequence[MetricRecord]", tail: int | None) -> "Sequence[MetricRecord]":
    return records if tail is None else records[len(records) - min(tail, len(records)) :]


def _follow(store: "Store", run_id: str, tail: int | None) -> None:
    """Print the records as they come, until the run ends or stops."""
    from runner.backends.base import poll_seconds
    from runner.control.wait import RunWaiter
    from runner.reports.metrics import MetricsLines
    from runner.runs.metrics import read_metrics
    from runner.runs.records import run_document

    lines = MetricsLines(run_document(store, run_id)["recipe"])
    waiter = RunWaiter(store, run_id)
    cache: dict[str, bytes] = {}
    show(lines.header())
    shown = 0
    while True:
        # Whether the run has ended is asked before its metrics are read: nothing comes after the end.
        at_rest = waiter.look()[1]
        records = read_metrics(store, run_id, cache=cache)
        new = records[min(shown, len(records)) :]  # a new attempt repeats steps that no checkpoint holds
        for record in new if shown else _last(new, tail):
            show(lines.line(record))
        shown = len(records)
        if at_rest:
            return
        time.sleep(poll_seconds(store))
