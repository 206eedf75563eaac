"""``runner metrics``."""

import io
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option, runs_argument, store_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.storage.store import Store

_LINES_BELOW_A_PLOT = 10


@click.command()
@runs_argument
@click.option("--tail", "-n", "tail", metavar="LINES", type=click.IntRange(min=0), help="Only the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the runs end or stop.")
@click.option(
    "--plot/--table",
    "as_plot",
    default=None,
    help="Draw curves, or print every line. Default: on a terminal both, the last lines below the curves; else lines.",
)
@click.option("--metric", "names", metavar="NAME", multiple=True, help="Draw this metric. May be repeated.")
@click.option("--system", is_flag=True, help="What the machines did: processors, memory, GPUs.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with every column there is.")
@json_option
@store_option
def metrics(
    store: "Store",
    runs: tuple[str, ...],
    tail: int | None,
    follow: bool,
    as_plot: bool | None,
    names: tuple[str, ...],
    system: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print or draw the metrics of runs, one line per step.

    Evaluations come in between, as lines with an evaluation loss.

    \b
    Example:
      runner metrics last
      runner metrics last --tail 20 -f
      runner metrics last --system -f
      runner metrics run-1 run-2 --plot --metric eval_loss
      runner metrics last --csv > metrics.csv
    """
    from runner.control.watching.choose import choose_watched, short_names

    _refuse(follow=follow, as_plot=as_plot, names=names, system=system, as_csv=as_csv, as_json=as_json)
    run_ids = choose_watched(store, runs, say=say)
    if follow:
        from runner.cli.follow_metrics import follow_plot, follow_table

        if as_plot or names:
            follow_plot(store, run_ids, names, system=system)
        else:
            follow_table(store, run_ids, tail, system=system)
        return
    records = {run_id: _last(_read(store, run_id, system=system), tail) for run_id in run_ids}
    if as_json:
        print_json(records[run_ids[0]] if len(run_ids) == 1 else records)
    elif as_csv:
        show(_csv(records, system=system), nl=False)
    elif any(records.values()):
        by_name = {short: records[run_id] for run_id, short in short_names(run_ids).items()}
        _show(by_name, names, system=system, as_plot=as_plot, tail=tail)
    for run_id in run_ids:
        if not records[run_id] and tail != 0:
            say(f"{run_id} has no {'records of its machines' if system else 'metrics yet'}")


def _refuse(
    *, follow: bool, as_plot: bool | None, names: Sequence[str], system: bool, as_csv: bool, as_json: bool
) -> None:
    if follow and (as_csv or as_json):
        remedy = "leave --follow out, or follow the table or the plot"
        raise UserError("only the table and the plot can be followed", where="--follow", remedy=remedy)
    if (as_csv or as_json) and (as_plot or names):
        where = "--plot" if as_plot else "--metric"
        raise UserError("only the plot takes it", where=where, remedy="leave out --csv or --json, or this")
    if names and (system or as_plot is False):
        remedy = "leave it out, or leave out --system and --table"
        raise UserError("it names what is drawn of the training", where="--metric", remedy=remedy)


def _read(store: "Store", run_id: str, *, system: bool) -> "Sequence[Mapping[str, Any]]":
    if system:
        from runner.runs.measured.system import read_system

        return read_system(store, run_id)
    from runner.runs.metrics import read_metrics

    return read_metrics(store, run_id)


def _last(records: "Sequence[Mapping[str, Any]]", tail: int | None) -> "Sequence[Mapping[str, Any]]":
    return records if tail is None else records[len(records) - min(tail, len(records)) :]


def _show(
    runs: "Mapping[str, Sequence[Mapping[str, Any]]]",
    names: Sequence[str],
    *,
    system: bool,
    as_plot: bool | None,
    tail: int | None,
) -> None:
    """Show records to people: curves, lines, or both."""
    if as_plot or names or (as_plot is None and tail is None and sys.stdout.isatty()):
        from runner.cli.follow_metrics import drawing, show_drawing

        alone = bool(as_plot or names)
        _refuse_unknown(runs, names)
        height = None if alone else max(12, _terminal_lines() - _LINES_BELOW_A_PLOT - 5)
        show_drawing(drawing(runs, names, system=system, height=height))
        if alone:
            return
        show("")
        runs = {run: _last(records, max(2, _LINES_BELOW_A_PLOT // len(runs))) for run, records in runs.items()}
    show(_table(runs, system=system))


def _table(runs: "Mapping[str, Sequence[Mapping[str, Any]]]", *, system: bool) -> str:
    if system:
        from runner.reports.system import system_table as table
    else:
        from runner.reports.metrics import metrics_table as table
    if len(runs) == 1:
        [records] = runs.values()
        return table(records)
    return "\n\n".join(f"{run}\n{table(records)}" for run, records in runs.items() if records)


def _refuse_unknown(runs: "Mapping[str, Sequence[Mapping[str, Any]]]", names: Sequence[str]) -> None:
    """Refuse a metric that none of the runs has."""
    if not names:
        return
    import difflib

    from runner.reports.drawing.curves import known_metrics

    known = list(dict.fromkeys(name for records in runs.values() for name in known_metrics(records)))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
            raise UserError(f"no metric {name!r} was recorded", where="--metric", remedy=remedy)


def _terminal_lines() -> int:
    import shutil

    return shutil.get_terminal_size().lines


def _csv(records: "Mapping[str, Sequence[Mapping[str, Any]]]", *, system: bool) -> str:
    """All records as CSV; those of several runs with the run's id in the first column."""
    from runner.reports.metrics import write_csv

    rows = []
    for run_id, of_run in records.items():
        for record in of_run:
            row = dict(record)
            if system:
                from runner.reports.system import flat_system

                row = flat_system(record)
            rows.append({"run_id": run_id, **row} if len(records) > 1 else row)
    text = io.StringIO()
    write_csv(rows, text)
    return text.getvalue()
