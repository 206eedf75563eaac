"""``runner cancel``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import print_json, run_outcome, say

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option(
    "--keep-model",
    is_flag=True,
    help="Stop training after the present step, then measure, export and keep the model as at the run's end.",
)
@json_option
@store_option
def cancel(store: "Store", run: str, keep_model: bool, as_json: bool) -> None:
    """End a run for good.

    It works wherever the run runs; what it has made stays in the store.

    \b
    Example:
      runner cancel last
      runner cancel last --keep-model
    """
    from runner.control.cancel import cancel_run, finish_run
    from runner.exit_codes import FAILED, INTERRUPTED
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    status = (finish_run if keep_model else cancel_run)(store, run_id, say=say)
    if as_json:
        print_json(run_outcome(status, store.url))
    if not status.terminal:
        say(f"{run_id} was asked to end, and has not yet; `runner wait {run_id}` waits for it")
        raise click.exceptions.Exit(INTERRUPTED)
    if status.state == "cancelled":
        say(f"{run_id} is cancelled{f': {status.reason}' if keep_model and status.reason else ''}")
        return
    if keep_model and status.state == "succeeded":
        say(f"{run_id} was at its end, and has succeeded")
        return
    say(f"{run_id} {status.state} before it could be cancelled")
    raise click.exceptions.Exit(FAILED)
