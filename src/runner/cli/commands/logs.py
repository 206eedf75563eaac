"""``runner logs``."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner.cli.options import run_argument, store_option
from runner.cli.streams import writing_output

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the run ends or stops.")
@click.option("--tail", "-n", "tail", metavar="LINES", type=click.IntRange(min=0), help="Begin with the last lines.")
@store_option
def logs(store: "Store", run: str, follow: bool, tail: int | None) -> None:
    """Print what a run has written.

    It works while the run runs and after it, from any machine that sees the store.

    \b
    Example:
      runner logs -f last
    """
    from runner.backends.base import poll_seconds
    from runner.control.wait import RunWaiter
    from runner.runs.listing import find_run
    from runner.runs.logs import open_log

    run_id = find_run(store, run)
    waiter = RunWaiter(store, run_id)
    # Whether the run has ended is asked before its log is read: nothing comes after the end.
    at_rest = not follow or waiter.look()[1]
    pieces, cursor = open_log(store, run_id, tail=tail)
    _print(pieces)
    while not at_rest:
        time.sleep(poll_seconds(store))
        at_rest = waiter.look()[1]
        pieces, cursor = open_log(store, run_id, cursor)
        _print(pieces)


def _print(pieces: "Iterable[str]") -> None:
    from runner.runs.logs import pieces_for_terminal

    # Also into a pipe: `| grep` and `| less -R` end on a terminal.
    with writing_output():
        for piece in pieces_for_terminal(pieces):
            click.echo(piece, nl=False)
