"""Print the logs of several runs as one, each line after its run's name."""

import heapq
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from runner.backends.base import poll_seconds
from runner.cli.output import has_colors
from runner.cli.streams import writing_output
from runner.control.wait import RunWaiter
from runner.control.watching.choose import short_names
from runner.reports.drawing.plot import COLORS
from runner.reports.drawing.sparkline import is_plain
from runner.reports.tables import output_width, shortened
from runner.runs.logs import Cursor, open_log, pieces_for_terminal

if TYPE_CHECKING:
    from runner.storage.store import Store

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
"""What each line of an attempt's log begins with."""

_SHORTEST_NAME = 12
"""Characters that a name has on the narrowest terminal, if it needs them."""

_MOST_CHARACTERS = 1 << 20
"""A longer line is printed in parts: it must fit into memory."""


def show_logs(store: "Store", run_ids: Sequence[str], *, follow: bool, tail: int | None) -> None:
    """Print the logs of several runs, merged by time.

    Args:
        store: where the runs live.
        run_ids: the runs; each has a color of its own, on a terminal.
        follow: whether to go on until all have ended or stopped.
        tail: begin with so many of the last lines of each; None: at the beginning.
    """
    names = line_names(run_ids)
    width, colors = max(map(len, names.values())), has_colors(sys.stdout)
    prefixes = {
        run_id: click.style(f"{names[run_id]:{width}} | ", fg=COLORS[number % len(COLORS)])
        if colors
        else f"{names[run_id]:{width}} | "
        for number, run_id in enumerate(run_ids)
    }
    waiters = {run_id: RunWaiter(store, run_id) for run_id in run_ids} if follow else {}
    cursors: dict[str, Cursor | None] = dict.fromkeys(run_ids)
    left = list(run_ids)
    while left:
        # Whether a run has ended is asked before its log is read: nothing comes after the end.
        at_rest = [run_id for run_id in left if not follow or waiters[run_id].look()[1]]
        streams = []
        for run_id in left:
            first = cursors[run_id] is None
            pieces, cursors[run_id] = open_log(store, run_id, cursors[run_id], tail=tail if first else None)
            streams.append(_stamped(prefixes[run_id], lines_of(pieces_for_terminal(pieces))))
        with writing_output():
            for _, line in heapq.merge(*streams, key=lambda item: item[0]):
                click.echo(line, color=colors)
        left = [run_id for run_id in left if run_id not in at_rest]
        if left:
            time.sleep(poll_seconds(store))


def line_names(run_ids: Sequence[str]) -> dict[str, str]:
    """Return the names that lines of several runs begin with.

    On a terminal, they take a third of its width at most, unless two would look the same.
    """
    names, width = short_names(run_ids), output_width()
    if width is None:
        return names
    most, plain = max(_SHORTEST_NAME, width // 3), is_plain(sys.stdout)
    cut = {run_id: shortened(name, most, plain=plain) for run_id, name in names.items()}
    return cut if len(set(cut.values())) == len(cut) else names


def lines_of(pieces: Iterable[str]) -> Iterator[str]:
    """Return the lines of a text that comes in pieces, without their ends; an unfinished last one too."""
    begun = ""
    for piece in pieces:
        *lines, begun = (begun + piece).split("\n")
        yield from lines
        if len(begun) > _MOST_CHARACTERS:
            yield begun
            begun = ""
    if begun:
        yield begun


def _stamped(prefix: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return each line with its time; one without a time has that of the line before it."""
    stamp = ""
    for line in lines:
        if _STAMP.match(line):
            stamp = line[:20]
        yield stamp, prefix + line
