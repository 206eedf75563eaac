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
from runner.reports.system import SystemLines
from runner.runs.measured.system import read_system
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


class _Followed:
    """A run whose records are printed as they come.

    Args:
        store: where the run lives.
        run_id: the run.
        system: whether the records are those of its machines.
    """

    def __init__(self, store: "Store", run_id: str, *, system: bool) -> None:
        self._store = store
        self._run_id = run_id
        self._system = system
        self._cache: dict[str, bytes] = {}
        self._count = 0
        self._seen: set[tuple[float, int]] = set()
        self.lines: MetricsLines | SystemLines | None = None
        """What makes the lines; None: which columns there are is not known yet."""
        if not system:
            self.lines = MetricsLines(run_document(store, run_id)["recipe"])

    def read(self) -> Sequence[Mapping[str, Any]]:
        """Return the records that have come since the last call."""
        if not self._system:
            records: Sequence[Mapping[str, Any]] = read_metrics(self._store, self._run_id, cache=self._cache)
            new = records[min(self._count, len(records)) :]  # a new attempt repeats steps that no checkpoint holds
            self._count = len(records)
            return new
        # By what they are, not by how many there were: those of another machine may come later, and be older.
        samples = read_system(self._store, self._run_id, cache=self._cache)
        new_samples = [record for record in samples if (record["time"], record["node"]) not in self._seen]
        self._seen |= {(record["time"], record["node"]) for record in new_samples}
        if new_samples and self.lines is None:
            self.lines = SystemLines(new_samples)
        return new_samples


def follow_table(store: "Store", run_ids: Sequence[str], tail: int | None, *, system: bool = False) -> None:
    """Print the records of runs, or of their machines, as they come; several with their names.

    Until all runs have ended or stopped.
    """
    names = short_names(run_ids)
    waiters = {run_id: RunWaiter(store, run_id) for run_id in run_ids}
    width = max(map(len, names.values()))
    prefixes = {run_id: f"{names[run_id]:{width}}  " if len(run_ids) > 1 else "" for run_id in run_ids}
    header = None

    def show_header(lines: "MetricsLines | SystemLines") -> None:
        nonlocal header
        if (new := lines.header()) != header:  # recipes of other methods have other columns, and other machines
            header = new
            show(f"{'RUN':{width}}  {header}" if len(run_ids) > 1 else header)

    followed = {run_id: _Followed(store, run_id, system=system) for run_id in run_ids}
    for run in followed.values():
        if run.lines is not None:
            show_header(run.lines)
    tails: dict[str, int | None] = dict.fromkeys(run_ids, tail)
    left = list(run_ids)
    while left:
        for run_id in list(left):
            # Whether the run has ended is asked before its records are read: nothing comes after the end.
            at_rest = waiters[run_id].look()[1]
            new, lines = followed[run_id].read(), followed[run_id].lines
            if new and lines is not None:
                if system:
                    show_header(lines)
                most = tails[run_id]
                tails[run_id] = None
                for record in new[len(new) - min(len(new) if most is None else most, len(new)) :]:
                    show(prefixes[run_id] + lines.line(record))
            if at_rest:
                left.remove(run_id)
        if left:
            time.sleep(poll_seconds(store))


def follow_plot(store: "Store", run_ids: Sequence[str], metrics: Sequence[str], *, system: bool = False) -> None:
    """Draw runs again and again in the same place, until all have ended or stopped; the last drawing stays.

    Args:
        store: where the runs live.
        run_ids: the runs.
        metrics: the metrics to draw; none: the usual ones.
        system: draw what their machines did instead.
    """
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
                    read = read_system if system else read_metrics
                    records[names[run_id]] = read(store, run_id, cache=caches[run_id])
            text = Text(no_wrap=True, overflow="crop")
            for number, line in enumerate(drawing(records, metrics, system=system, height=max(9, console.height - 3))):
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
