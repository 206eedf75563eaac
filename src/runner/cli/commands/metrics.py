"""``runner metrics``."""

import io
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with every column there is.")
@json_option
@store_option
def metrics(store: "Store", run: str, as_csv: bool, as_json: bool) -> None:
    """Print a run's metrics, one line per step.

    Evaluations come in between, as lines with an evaluation loss.

    \b
    Example:
      runner metrics last
      runner metrics last --csv > metrics.csv
    """
    from runner.reports.metrics import metrics_table, write_csv
    from runner.runs.listing import find_run
    from runner.runs.metrics import read_metrics

    run_id = find_run(store, run)
    records = read_metrics(store, run_id)
    if as_json:
        print_json(records)
    elif as_csv:
        text = io.StringIO()
        write_csv(records, text)
        show(text.getvalue(), nl=False)
    elif records:
        show(metrics_table(records))
    if not records:
        say(f"{run_id} has no metrics yet")
