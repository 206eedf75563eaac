"""``runner metrics``."""

import csv
import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option, run_argument, store_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.storage.store import Store

_COLUMNS = {
    "stage": "STAGE",
    "step": "STEP",
    "loss": "LOSS",
    "eval_loss": "EVAL LOSS",
    "exact_match": "EXACT MATCH",
    "learning_rate": "LEARNING RATE",
    "grad_norm": "GRAD NORM",
    "tokens_per_second": "TOKENS/S",
}


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
    from runner.cli.output import print_json
    from runner.runs.listing import find_run
    from runner.runs.metrics import read_metrics

    run_id = find_run(store, run)
    records = read_metrics(store, run_id)
    if as_json:
        print_json(records)
    elif as_csv:
        names = list(dict.fromkeys(name for record in records for name in record))
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    elif records:
        click.echo(_table(records))
    if not records:
        click.echo(f"{run_id} has no metrics yet", err=True)


def _table(records: "Sequence[Mapping[str, Any]]") -> str:
    from runner.reports.tables import number, text_table

    columns = {name: title for name, title in _COLUMNS.items() if any(name in record for record in records)}
    if len({record["stage"] for record in records}) == 1:
        del columns["stage"]
    rows = [[number(record[name]) if record.get(name) is not None else "" for name in columns] for record in records]
    return text_table(list(columns.values()), rows, right=range("stage" in columns, len(columns)))
