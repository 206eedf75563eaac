"""``runner logs``."""

import sys
import time
from typing import TYPE_CHECKING

import click

from runner.cli.options import run_argument, store_option

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
    from runner.runs.logs import read_log

    run_id = find_run(store, run)
    waiter = RunWaiter(store, run_id)
    # Whether the run has ended is asked before its log is read: nothing comes after the end.
    at_rest = not follow or waiter.look()[1]
    text, cursor = read_log(store, run_id)
    if tail is not None:
        text = "".join(text.splitlines(keepends=True)[-tail:] if tail else [])
    _print(text)
    while not at_rest:
        time.sleep(poll_seconds(store))
        at_rest = waiter.look()[1]
        text, cursor = read_log(store, run_id, cursor)
        _print(text)


def _print(text: str) -> None:
    from runner.runs.logs import for_terminal

    click.echo(for_terminal(text) if sys.stdout.isatty() else text, nl=False)
