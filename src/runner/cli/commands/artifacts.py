"""``runner artifacts``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--files", "-f", "show_files", is_flag=True, help="Each file, with its digest (BLAKE3).")
@json_option
@store_option
def artifacts(store: "Store", run: str, show_files: bool, as_json: bool) -> None:
    """List a run's artifacts.

    `runner pull --artifact NAME` fetches one.

    \b
    Example:
      runner artifacts last
      runner artifacts last --files
    """
    from runner.control.results.artifacts import list_artifacts
    from runner.reports.tables import size, text_table
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    found = list_artifacts(store, run_id)
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "bytes": one.size,
                    "url": one.url,
                    "problem": one.problem,
                    "files": [
                        {"name": file.name, "bytes": file.size, "blake3": file.blake3, "url": one.url + file.name}
                        for file in one.files
                    ],
                }
                for one in found
            ]
        )
        return
    if not found:
        say(f"{run_id} has no artifact")
        return
    if show_files:
        rows = [(f"{one.name}/{file.name}", size(file.size), file.blake3) for one in found for file in one.files]
        show(text_table(["FILE", "SIZE", "BLAKE3"], rows, right=[1]))
    else:
        table = [(one.name, str(len(one.files)), one.problem or size(one.size), one.url) for one in found]
        show(text_table(["ARTIFACT", "FILES", "SIZE", "ADDRESS"], table, right=[1, 2]))
