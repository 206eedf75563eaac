"""``runner pull``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import checkpoint_option, json_option, run_argument, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--artifact", "artifacts", metavar="NAME", multiple=True, help="Only this artifact; may be repeated.")
@checkpoint_option
@json_option
@store_option
def pull(
    store: "Store", run: str, folder: Path | None, artifacts: tuple[str, ...], checkpoint: str | None, as_json: bool
) -> None:
    """Fetch a run's results, metrics and artifacts.

    They come into DIR (default: a folder named like the run), checked byte for byte; what is there is not fetched
    again, and a file that was cut short is continued.

    \b
    Example:
      runner pull last my-model
      runner pull last --artifact model
      runner pull last --checkpoint best
    """
    from runner.control.results.pull import pull
    from runner.reports.tables import size
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    collected = pull(store, run_id, folder or Path(run_id), say=say, checkpoint=checkpoint, only=artifacts)
    if as_json:
        files = sorted(collected.fetched + collected.already_there)
        print_json({"run_id": run_id, "folder": str(collected.folder), "files": files})
        return
    for name in collected.fetched:
        show(str(collected.folder / name))
    skipped = f"; {len(collected.already_there)} files were there already" if collected.already_there else ""
    say(f"fetched {len(collected.fetched)} files, {size(collected.fetched_bytes)}, into {collected.folder}{skipped}")
