"""``runner compare``."""

import csv
import io
import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option, runs_argument, store_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.reports.comparison import Comparison
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
    from runner.control.results.compare import choose_runs
    from runner.control.results.compare import compare as compare_in
    from runner.reports.comparison import plain_cell, rows
    from runner.reports.comparison_text import comparison_text
    from runner.reports.sparkline import is_plain
    from runner.reports.tables import output_width

    if as_csv and as_json:
        raise UserError("CSV and JSON at once", where="--csv", remedy="leave one of the two out")
    damaged: dict[str, Damaged] = {}
    chosen = choose_runs(store, runs, everything=everything, on_damaged=damaged.__setitem__)
    comparison = compare_in(store, chosen, sort=sort, on_damaged=damaged.__setitem__)
    if as_json:
        print_json(_document(comparison, damaged))
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


def _document(comparison: "Comparison", damaged: "dict[str, Damaged]") -> dict[str, Any]:
    from runner.reports.comparison import result_row

    return {
        "metric": comparison.metric,
        "goal": "maximize" if comparison.maximize else "minimize",
        "best": next((run.run_id for run in comparison.ranked), None),
        "runs": [
            {
                **result_row(run, comparison),
                "before": dict(run.before),
                "after": dict(run.measured),
                "best": run.best,
                "not_finite": dict(run.not_finite),
                "curves": {"loss": list(run.losses), "eval_loss": list(run.eval_losses)},
            }
            for run in comparison.runs
        ],
        "settings": {one.name: dict(one.values) for one in comparison.settings},
        **{group: {one.name: dict(one.values) for one in found} for group, found in _groups(comparison).items()},
        "same_training": [list(run_ids) for run_ids in comparison.same_training],
        "same_evaluation_data": comparison.same_rows,
        "damaged": {run_id: str(error) for run_id, error in damaged.items()},
    }


def _groups(comparison: "Comparison") -> dict[str, Any]:
    from runner.reports.comparison import GROUPS

    return {group: comparison.others.get(group, ()) for group in GROUPS}
