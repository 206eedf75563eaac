"""``runner sweep results``."""

import io
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option, sweep_argument
from runner.cli.output import print_json, say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@sweep_argument
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with every column there is.")
@click.option(
    "--sort",
    metavar="COLUMN",
    help="The order of the lines, such as eval_loss, or -seconds for the largest first. Default: the best first.",
)
@json_option
@store_option
def results(store: "Store", sweep: str, as_csv: bool, sort: str | None, as_json: bool) -> None:
    """Print a sweep's trials with their parameters and results, one line each.

    \b
    Example:
      runner sweep results last
      runner sweep results last --csv > trials.csv
      runner sweep results last --sort -seconds
    """
    from runner.control.sweeping.find import find_sweep
    from runner.control.sweeping.results import sorted_rows, sweep_overview
    from runner.reports.sweep_tables import result_rows, results_table, write_results_csv
    from runner.reports.tables import output_width

    if as_csv and as_json:
        raise UserError("CSV and JSON at once", where="--csv", remedy="leave one of the two out")
    sweep_id = find_sweep(store, sweep)
    overview = sweep_overview(store, sweep_id)
    rows = result_rows(overview.definition, overview.trials)
    if sort is not None:
        rows = sorted_rows(rows, sort)
    if as_json:
        print_json(rows)
    elif as_csv:
        text = io.StringIO()
        write_results_csv(rows, text)
        show(text.getvalue(), nl=False)
    elif rows:
        show(results_table(rows, output_width()))
    if not rows:
        say(f"{sweep_id} has no trials yet")
