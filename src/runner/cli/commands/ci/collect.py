"""``runner ci collect``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.ci.options import folder_option
from runner.cli.options import store_option
from runner.cli.output import print_json, say

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@click.option("--repository", metavar="NAME", envvar="GITHUB_REPOSITORY", help="Only of this. Default: GitHub's.")
@folder_option
@store_option
def collect(store: "Store", repository: str | None, folder: Path) -> None:
    """Report the runs that other jobs have left, and that have ended.

    Those of `runner ci launch --leave`. For each, FOLDER/RUN-N/ has the files of `runner ci finish`. Prints a list of
    objects: `run_id`, `state`, `passed`, `commit`, `pull_request`, `url`, `folder`. Each run is reported once.

    \b
    Example:
      runner ci collect --folder reports
    """
    from runner.control.ci.awaited import awaited_runs, note_reported
    from runner.control.ci.finish import finish_job, give_outputs, give_summary
    from runner.errors import UserError

    rows: list[dict[str, Any]] = []
    for number, record, status in awaited_runs(store):
        run_id = status.run_id
        if repository and record.get("repository") not in (None, repository):
            continue
        if not status.terminal:
            say(f"{run_id} has not ended: it is {status.shown_state}")
            continue
        place = folder / f"{run_id}-{number}"
        passed = False
        try:
            finished = finish_job(
                store, status, place, requirements=record["requirements"], baseline=record["baseline"], say=say
            )
            passed = finished.exit_code == 0
            give_summary(finished.summary)
        except UserError as error:  # such as a baseline that is gone: it does not keep the others from being reported
            say(f"{run_id}: {error}")
            give_summary(f"### {run_id}: could not be held against its requirements\n")
        known = {name: record.get(name) for name in ("commit", "pull_request", "url")}
        rows.append({"run_id": run_id, "state": status.state, "passed": passed, **known, "folder": str(place)})
        note_reported(store, run_id, number)
    give_outputs({"count": str(len(rows))})
    print_json(rows)
