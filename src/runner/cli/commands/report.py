"""``runner report``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import runs_argument, store_option
from runner.cli.output import say, show

if TYPE_CHECKING:
    from runner.storage.manifest import Damaged
    from runner.storage.store import Store


@click.command()
@runs_argument
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False), help="The file. Default: report-RUN.html here.")
@click.option(
    "--png",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write the main plots as a picture. It needs the extra `report`.",
)
@click.option("--svg", metavar="FILE", type=click.Path(dir_okay=False), help="The same as SVG.")
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@store_option
def report(
    store: "Store", runs: tuple[str, ...], out: str | None, png: str | None, svg: str | None, open_it: bool
) -> None:
    """Write a report of runs or of a sweep: one HTML file that opens without a network.

    \b
    Example:
      runner report last --open
      runner report my-sweep --png sweep.png    # a picture; the page too, with --out
    """
    from runner.control.results.compare import compare
    from runner.control.results.comparing.choose import choose_runs
    from runner.control.results.report import run_details
    from runner.reports.html import picture
    from runner.reports.html.runs_page import runs_page, runs_picture
    from runner.storage.atomic import atomic_write

    damaged: dict[str, Damaged] = {}
    chosen = choose_runs(store, runs, on_damaged=damaged.__setitem__)
    comparison = compare(store, chosen, on_damaged=damaged.__setitem__)
    details = None
    if len(comparison.runs) == 1:
        details = run_details(store, comparison.runs[0], on_damaged=damaged.__setitem__)
    sweep = next(iter(chosen.sweeps.values())) if len(runs) == 1 and chosen.sweeps else None
    name = comparison.runs[0].run_id if sweep is None else sweep.definition.sweep_id
    files: dict[Path, bytes] = {}
    if png or svg:
        drawn = runs_picture(comparison, details, sweep)
        files |= {Path(png): picture.png(drawn)} if png else {}
        files |= {Path(svg): picture.svg(drawn)} if svg else {}
    if out or not files:
        files[Path(out or f"report-{name}.html")] = runs_page(comparison, details, sweep).encode()
    for path, data in files.items():
        with atomic_write(path) as part:
            part.write_bytes(data)
        show(str(path))
    for run_id, error in damaged.items():
        say(f"{run_id} is damaged in the store: {error}")
    if open_it:
        click.launch(next(reversed(files)).resolve().as_uri())
