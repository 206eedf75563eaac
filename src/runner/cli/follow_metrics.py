"""Show the metrics of runs as they come: as lines of a table, or as curves that are drawn again and again."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.backends.base import poll_seconds
from runner.cli.output import has_colors, show, show_parts
from runner.control.wait import RunWaiter
from runner.control.watching.choose import short_names
from runner.reports.drawing.curves import draw_metrics, draw_system
from runner.reports.drawing.sparkline import is_plain
from runner.reports.metrics import MetricsLines
from runner.runs.metrics import read_metrics
from runner.runs.records import run_document

if TYPE_CHECKING:
    from runner.reports.drawing.plot import Line
    from runner.storage.store import Store

_PIPE_SIZE = (100, 24)
"""The columns and lines of a drawing that no terminal shows."""
_LEAST_SECONDS = 1.0


def drawing(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str], *, system: bool, height: int | None = None
) -> "list[Line]":
    """Draw runs' metrics, or what their machines did, as wide as standard output is.

    Args:
        runs: the records by the run's name.
        names: the metrics to draw; none: the usual ones.
        system: whether the records are those of machines.
        height: lines; None: as many as there are.
    """
    columns, rows = shutil.get_terminal_size(_PIPE_SIZE) if sys.stdout.isatty() else _PIPE_SIZE
    size: dict[str, Any] = {"width": columns, "height": height or max(9, rows - 2)}
    looks: dict[str, Any] = {"plain": is_plain(sys.stdout), "colors": has_colors(sys.stdout)}
    if system:
        return draw_system(runs, **size, **looks)
    return draw_metrics(runs, names, **size, **looks)


def follow_table(store: "Store", run_ids: Sequence[str], tail: int | None) -> None:
    """Print the records of runs as they come, until all have ended or stopped; several with their names."""
    names = short_names(run_ids)
    lines = {run_id: MetricsLines(run_document(store, run_id)["recipe"]) for run_id in run_ids}
    waiters = {run_id: RunWaiter(store, run_id) for run_id in run_ids}
    caches: dict[str, dict[str, bytes]] = {run_id: {} for run_id in run_ids}
    counts = dict.fromkeys(run_ids, 0)
    width = max(map(len, names.values()))
    prefixes = {run_id: f"{names[run_id]:{width}}  " if len(run_ids) > 1 else "" for run_id in run_ids}
    header = None
    for run_id in run_ids:
        if (new := lines[run_id].header()) != header:  # recipes of other methods have other columns
            header = new
            show(f"{'RUN':{width}}  {header}" if len(run_ids) > 1 else header)
    left = list(run_ids)
    while left:
        for run_id in list(left):
            # Whether the run has ended is asked before its metrics are read: nothing comes after the end.
            at_rest = waiters[run_id].look()[1]
            records = read_metrics(store, run_id, cache=caches[run_id])
            shown = counts[run_id]
            new_records = records[min(shown, len(records)) :]  # a new attempt repeats steps that no checkpoint holds
            if not shown and tail is not None:
                new_records = new_records[len(new_records) - min(tail, len(new_records)) :]
            for record in new_records:
                show(prefixes[run_id] + lines[run_id].line(record))
            counts[run_id] = len(records)
            if at_rest:
                left.remove(run_id)
        if left:
            time.sleep(poll_seconds(store))


def follow_plot(store: "Store", run_ids: Sequence[str], metrics: Sequence[str]) -> None:
    """Draw runs again and again in the same place, until all have ended or stopped; the last drawing stays."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    names = short_names(run_ids)
    waiters = {run_id: RunWaiter(store, run_id) for run_id in run_ids}
    caches: dict[str, dict[str, bytes]] = {run_id: {} for run_id in run_ids}
    records: dict[str, Sequence[Mapping[str, Any]]] = {}
    at_rest: set[str] = set()
    console = Console(highlight=False, markup=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            for run_id in run_ids:
                if run_id not in at_rest:
                    if waiters[run_id].look()[1]:
                        at_rest.add(run_id)
                    records[names[run_id]] = read_metrics(store, run_id, cache=caches[run_id])
            text = Text(no_wrap=True, overflow="crop")
            for number, line in enumerate(drawing(records, metrics, system=False, height=max(9, console.height - 3))):
                text.append("\n" if number else "")
                for part, color in line:
                    text.append(part, style=color)
            live.update(text, refresh=True)
            if len(at_rest) == len(run_ids):
                return
            time.sleep(max(_LEAST_SECONDS, poll_seconds(store)))


def show_drawing(lines: "Sequence[Line]") -> None:
    """Print a drawing to standard output."""
    show_parts(lines, colors=has_colors(sys.stdout))
