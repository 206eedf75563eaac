"""``runner cancel``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@json_option
@store_option
def cancel(store: "Store", run: str, as_json: bool) -> None:
    """End a run for good.

    It works wherever the run runs; what it has made stays in the store.

    \b
    Example:
      runner cancel last
    """
    from runner.cli.output import print_json, run_outcome
    from runner.control.cancel import cancel_run
    from runner.exit_codes import FAILED, INTERRUPTED
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    status = cancel_run(store, run_id, say=lambda sentence: click.echo(sentence, err=True))
    if as_json:
        print_json(run_outcome(status, store.url))
    if not status.terminal:
        click.echo(f"{run_id} was asked to end, and has not yet; `runner wait {run_id}` waits for it", err=True)
        raise click.exceptions.Exit(INTERRUPTED)
    if status.state == "cancelled":
        click.echo(f"{run_id} is cancelled", err=True)
        return
    click.echo(f"{run_id} {status.state} before it could be cancelled", err=True)
    raise click.exceptions.Exit(FAILED)
