"""``runner compare``."""

import csv
import io
import sys
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, runs_argument, store_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.storage.manifest import Damaged
    from runner.storage.store import Store


@click.command()
@runs_argument
@click.option("--all", "-a", "everything", is_flag=True, help="Every run of a pattern or sweep, not only 20.")
@click.option(
    "--sort",
    metavar="COLUMN",
    help="The order of the runs, such as eval_loss, or -seconds for the largest first. Default: as they are named.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a line for each run, with all that differs.")
@json_option
@store_option
def compare(
    store: "Store", runs: tuple[str, ...], everything: bool, sort: str | None, as_csv: bool, as_json: bool
) -> None:
    """Show runs side by side: results, learning curves, and what differs between them.

    \b
    Example:
      runner compare quickstart-ab12 last
      runner compare 'quickstart-*' --sort eval_loss
      runner compare my-sweep --csv > trials.csv
    """
    from runner.control.results.compare import compare as compare_in
    from runner.control.results.comparing.choose import choose_runs
    from runner.reports.comparison import comparison_document, plain_cell, rows
    from runner.reports.comparison_text import comparison_text
    from runner.reports.drawing.sparkline import is_plain
    from runner.reports.tables import output_width

    if as_csv and as_json:
        raise UserError("CSV and JSON at once", where="--csv", remedy="leave one of the two out")
    damaged: dict[str, Damaged] = {}
    chosen = choose_runs(store, runs, everything=everything, on_damaged=damaged.__setitem__)
    comparison = compare_in(store, chosen, sort=sort, on_damaged=damaged.__setitem__)
    if as_json:
        print_json(comparison_document(comparison, {run_id: str(error) for run_id, error in damaged.items()}))
    elif as_csv:
        text = io.StringIO()
        table = rows(comparison)
        writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: plain_cell(value) for name, value in row.items()} for row in table)
        show(text.getvalue(), nl=False)
    else:
        plain = is_plain(sys.stdout)
        shown = comparison_text(comparison, output_width(), plain=plain)
        show(shown.encode("ascii", "replace").decode() if plain else shown)
    for run_id, error in damaged.items():
        say(f"{run_id} is damaged in the store: {error}")
    for word, count in chosen.left_out.items():
        say(f"{count} more of {word}; `runner compare {word} --all` shows them")
    if len(comparison.runs) == 1 and not (as_json or as_csv):
        say("one run alone: name others to see what differs")
