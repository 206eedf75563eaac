"""``runner plan``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, recipe_argument
from runner.cli.output import print_json, say, show
from runner.paths import working_directory

if TYPE_CHECKING:
    from runner.planning.plan import Row


_FOREMOST = 5


@click.command()
@recipe_argument
@click.option(
    "--gpu",
    "gpus",
    metavar="GPU[:N]",
    multiple=True,
    help="Plan for these, such as a100 or h100:8; may be repeated. Default: every GPU there is.",
)
@click.option("--nodes", metavar="N", type=click.IntRange(1, 64), default=1, show_default=True, help="Machines.")
@click.option(
    "--spot/--on-demand", default=None, help="Take spot machines where there are any. Default: what the recipe says."
)
@click.option(
    "--max-cost",
    metavar="DOLLARS",
    type=click.FloatRange(min=0, min_open=True),
    help="Say where the run would be interrupted by this limit of `runner launch`.",
)
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Plan with a setting changed.")
@click.option("--explain", is_flag=True, help="Show what the memory is for, and what to change to make it fit.")
@click.option("--all", "show_all", is_flag=True, help="Show every way, not the cheapest five and the quickest five.")
@json_option
def plan(
    recipe: str,
    gpus: tuple[str, ...],
    nodes: int,
    spot: bool | None,
    max_cost: float | None,
    overrides: tuple[str, ...],
    explain: bool,
    show_all: bool,
    as_json: bool,
) -> None:
    """Show on which GPUs and clouds a recipe fits, and for how much.

    The cheapest comes first; what does not fit comes last, with the reason. Memory, times and costs are estimates.
    Nothing is started, and nothing is downloaded but the model's config.json.

    \b
    Example:
      runner plan smollm2-135m-lora
      runner plan my-recipe.yaml --gpu a100 --gpu h100:8 --spot
    """
    from runner.control.plan import plan_recipe

    found = plan_recipe(recipe, gpus=gpus, nodes=nodes, spot=spot, overrides=overrides, cwd=working_directory())
    if as_json:
        limit = {} if max_cost is None else {"max_cost": max_cost}
        changes = found.changes
        print_json([{**row.as_json(), "change": changes.get(row.fit.accelerators), **limit} for row in found.rows])
        return
    rows = found.rows if show_all or gpus else _foremost(found.rows)
    _print_table(rows, found.changes, max_cost)
    if len(rows) < len(found.rows):
        say(f"\n{len(found.rows) - len(rows)} more ways with --all.")
    if explain:
        for row in _each_fit(rows):
            _print_memory(row, found.changes.get(row.fit.accelerators))
    say(f"\nPrices: {found.prices}. Times are estimates: four of five should lie in their range.")
    for note in found.notes:
        say(f"Note: {note}.")


def _foremost(rows: "Sequence[Row]") -> "Sequence[Row]":
    """Return the cheapest five ways and the quickest five, one for each number of a GPU; then what does not fit."""
    fitting = _each_fit([row for row in rows if row.fit.fits])
    quickest = sorted(fitting, key=lambda row: sum(row.time.hours) if row.time else 0.0)[:_FOREMOST]
    return [row for row in fitting if row in fitting[:_FOREMOST] or row in quickest] + [
        row for row in rows if not row.fit.fits
    ]


def _each_fit(rows: "Sequence[Row]") -> "Sequence[Row]":
    """Return the first row for each number of a GPU, in their order."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.fit.accelerators, row)
    return list(first.values())


def _print_memory(row: "Row", change: str | None) -> None:
    """Show what the memory of one GPU is for at the peak."""
    from runner.reports.tables import text_table

    memory = row.fit.memory
    if memory is None:
        return
    gib = memory.as_gib()
    table = [(term, f"{gib[term]:.2f}", words) for term, words in memory.terms.items()]
    total = ("total", f"{row.fit.memory_gib:.2f}", f"of {row.fit.capacity_gib:.2f} GiB")
    show(f"\n{row.fit.accelerators}: {row.fit.reason}")
    show(text_table(("MEMORY", "GIB", "AT THE PEAK"), [*table, total], right=(1,)))
    if change is not None:
        show(f"To make it fit: {change}")


def _print_table(rows: "Sequence[Row]", changes: "Mapping[str, str]", max_cost: float | None) -> None:
    from runner.planning.plan import dollar_range, hours_range
    from runner.reports.tables import text_table

    fitting = [row for row in rows if row.fit.fits]
    if fitting:
        headers = ("GPU", "INFRA", "BATCH", "PRECISION", "MEMORY", "TIME", "$/H", "COST")
        show(
            text_table(
                headers,
                [
                    (
                        f"{row.fit.nodes}x {row.fit.accelerators}" if row.fit.nodes > 1 else row.fit.accelerators,
                        f"{row.infra or 'no price'}{' spot' if row.spot else ''}",
                        _batch(row),
                        row.fit.precision,
                        f"{row.fit.memory_gib:.1f}/{row.fit.capacity_gib:.0f} GiB",
                        "-" if row.time is None else hours_range(row.time.hours),
                        "-" if row.price_per_hour is None else f"{row.price_per_hour:.2f}",
                        "-" if row.cost is None else dollar_range(row.cost) + _held_to(row.cost, max_cost),
                    )
                    for row in fitting
                ],
                right=(6,),
            )
        )
    refused = [row for row in rows if not row.fit.fits]
    if refused:
        show("\nDoes not fit:" if fitting else "Fits on none of these:")
        for row in refused:
            change = changes.get(row.fit.accelerators)
            show(f"  {row.fit.accelerators}: {row.fit.reason}" + (f". It fits with {change}" if change else ""))


def _held_to(cost: tuple[float, float], max_cost: float | None) -> str:
    """Say whether the run would end before it costs the most that it may."""
    if max_cost is None or cost[1] <= max_cost:
        return ""
    return f" (more than ${max_cost:g})" if cost[0] > max_cost else f" (perhaps more than ${max_cost:g})"


def _batch(row: "Row") -> str:
    fit = row.fit
    text = f"{fit.micro_batch} x {fit.accumulation}"
    if (world := fit.devices * fit.nodes) > 1:
        text += f" x {world} {fit.strategy}"
    return text + (", ckpt" if fit.gradient_checkpointing else "")
