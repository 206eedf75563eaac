"""``runner cost``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.control.spending.cost import Cost, Group
    from runner.storage.manifest import Damaged
    from runner.storage.store import Store


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--since", metavar="WHEN", help="Only what was spent since then: 12h, 7d, or 2026-11-28.")
@click.option(
    "--by",
    "group",
    type=click.Choice(["recipe", "tag", "gpu", "infra", "state", "month"]),
    help="Add up by what they have in common.",
)
@json_option
@store_option
def cost(store: "Store", runs: tuple[str, ...], since: str | None, group: "Group | None", as_json: bool) -> None:
    """Show what runs and sweeps have cost, idle and failed time included.

    The price of a machine is that of SkyPilot's catalog, by zone for spot machines, or what `--hourly-cost` said;
    of each run the price's source is named. Of a sweep the hours of its workers are counted.

    \b
    Example:
      runner cost
      runner cost last
      runner cost --since 30d --by recipe
    """
    from runner.cli.moments import moment_written
    from runner.control.spending.cost import costs, rows, total, totals
    from runner.runs.listing import find_run

    begin = None if since is None else moment_written(since, "--since")
    damaged: dict[str, Damaged] = {}
    run_ids = list(dict.fromkeys(find_run(store, run) for run in runs))
    found = costs(store, run_ids, since=begin, on_damaged=damaged.__setitem__)
    whole = total(found)
    if as_json:
        document: dict[str, object] = {
            "dollars": None if whole.dollars is None else round(whole.dollars, 6),
            "machine_seconds": round(whole.seconds, 1),
            "unpriced_seconds": round(whole.unpriced_seconds, 1),
            "runs": list(rows(found)),
        }
        if group is not None:
            document["by"] = group
            document["groups"] = [
                {
                    "key": each.key,
                    "count": each.count,
                    "dollars": None if each.dollars is None else round(each.dollars, 6),
                    "machine_seconds": round(each.seconds, 1),
                    "unpriced_seconds": round(each.unpriced_seconds, 1),
                }
                for each in totals(found, group)
            ]
        print_json(document)
    elif found:
        _show(found, group)
    else:
        say(f"nothing has run{'' if since is None else ' since then'} in {store.url}")
    for name, error in damaged.items():
        say(f"{name} is damaged in the store, and left out: {error}")


def _show(found: "Sequence[Cost]", group: "Group | None") -> None:
    from runner.control.spending.cost import total, totals
    from runner.reports.cost_tables import amount, attempts_table, cost_table
    from runner.reports.tables import duration, output_width
    from runner.runs.measured.spending import in_dollars

    width = output_width()
    if group is not None:
        sums = totals(found, group)
        cells = [(each.key, str(each.count)) for each in sums]
        show(cost_table((group.upper(), "RUNS"), cells, sums, width))
    else:
        names = [(each.name, each.state, each.gpu, each.infra, each.recipe) for each in found]
        show(cost_table(("RUN", "STATE", "GPU", "WHERE", "RECIPE"), names, found, width))
    if len(found) == 1 and found[0].attempts:
        show("\n" + attempts_table(found[0].attempts, width))
    whole = total(found)
    show(f"\ntotal: {amount(whole)} for {duration(whole.seconds)} of machines")
    lost = sum(each.lost_seconds for each in found)
    if lost:
        say(f"of that, {duration(lost)} in attempts that were interrupted or failed, or in workers that waited")
    for each in found:
        if each.kind == "run" and each.useful_seconds is not None and len(each.attempts) > 1:
            paid = "" if each.useful_dollars is None else f", {in_dollars(each.useful_dollars)},"
            say(f"{each.name}: {duration(each.useful_seconds)}{paid} of that led to what it has")
    if whole.unpriced_seconds:
        say(f"{duration(whole.unpriced_seconds)} have no price: `--hourly-cost` at the launch gives a machine one")
    for source in dict.fromkeys(source for each in found for source in each.sources):
        say(f"price: {source}")
    for each in found:
        if each.forecast is not None:
            cap = f" of {in_dollars(each.max_cost)} that it may cost" if each.max_cost is not None else ""
            say(f"{each.name} will have cost about {in_dollars(each.forecast)}{cap}, if it goes on like this")
