"""``runner du``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.storage.store import Store

_LARGEST = 20


@click.command()
@click.argument("runs", metavar="[RUN...]", nargs=-1)
@click.option("--all", "-a", "show_all", is_flag=True, help="Every run, not only the 20 largest.")
@json_option
@store_option
def du(store: "Store", runs: tuple[str, ...], show_all: bool, as_json: bool) -> None:
    """Show what runs take of the store.

    RUN is a run's id, the beginning or the end of one, `last`, a pattern such as 'quickstart-*', or a sweep: its
    trials. Without one, all that is in the store.

    \b
    Example:
      runner du
      runner du last
    """
    from runner.control.keeping.du import usage
    from runner.control.results.comparing.choose import choose_runs
    from runner.reports.tables import Column, fitting_table, output_width, size
    from runner.runs.keeping.usage import KINDS

    run_ids = None
    if runs:
        run_ids = choose_runs(store, runs, everything=True, on_damaged=lambda run_id, error: None).run_ids
    found = usage(store, run_ids)
    if as_json:
        print_json(
            {
                "bytes": found.size,
                "runs": [
                    {"run_id": run_id, "bytes": sum(kinds.values()), **{kind: kinds[kind] for kind in KINDS}}
                    for run_id, kinds in found.runs.items()
                ],
                "sweeps": [{"sweep_id": sweep_id, "bytes": count} for sweep_id, count in found.sweeps.items()],
                "others": dict(found.others),
            }
        )
        return
    shown = list(found.runs) if show_all or runs else list(found.runs)[:_LARGEST]
    rows = [(run_id, found.runs[run_id]) for run_id in shown]
    total = {kind: sum(kinds[kind] for kinds in found.runs.values()) for kind in KINDS}
    more = [(f"sweep {sweep_id}", count) for sweep_id, count in found.sweeps.items()]
    more += [(_OTHERS[kind], count) for kind, count in found.others.items()]
    names = [*(run_id for run_id, _ in rows), *(name for name, _ in more), "all"]
    sizes = [*(sum(kinds.values()) for _, kinds in rows), *(count for _, count in more), found.size]
    columns = [
        Column(title="RUN", cells=names),
        Column(title="SIZE", cells=[size(count) for count in sizes], right=True),
        *(
            Column(
                title=kind.upper(),
                cells=[
                    *(size(kinds[kind]) if kinds[kind] else "-" for _, kinds in rows),
                    *("-" for _ in more),
                    size(total[kind]) if total[kind] else "-",
                ],
                right=True,
                optional=True,
            )
            for kind in KINDS
            if total[kind]
        ),
    ]
    show(fitting_table(columns, output_width()))
    if len(shown) < len(found.runs):
        say(f"{len(found.runs) - len(shown)} smaller runs; `runner du --all` lists them")


_OTHERS = {
    "uploads": "(uploads not completed)",
    "versions": "(overwritten or deleted, versions kept)",
    "other": "(other)",
}
