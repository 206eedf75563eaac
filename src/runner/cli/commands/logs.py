"""``runner logs``."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner.cli.options import runs_argument, store_option
from runner.cli.output import say
from runner.cli.streams import writing_output

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@runs_argument
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the runs end or stop.")
@click.option("--tail", "-n", "tail", metavar="LINES", type=click.IntRange(min=0), help="Begin with the last lines.")
@store_option
def logs(store: "Store", runs: tuple[str, ...], follow: bool, tail: int | None) -> None:
    """Print what runs have written.

    It works while a run runs and after it, from any machine that sees the store. The lines of several runs are merged
    by time, each after its run's name.

    \b
    Example:
      runner logs -f last
      runner logs -f run-1 run-2 --tail 5
    """
    from runner.backends.base import poll_seconds
    from runner.control.wait import RunWaiter
    from runner.control.watching.choose import choose_watched
    from runner.runs.logs import open_log

    run_ids = choose_watched(store, runs, say=say)
    if len(run_ids) > 1:
        from runner.cli.follow_logs import show_logs

        show_logs(store, run_ids, follow=follow, tail=tail)
        return
    [run_id] = run_ids
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
