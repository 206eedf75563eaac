"""``runner plan``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, recipe_argument
from runner.cli.output import print_json, say, show
from runner.paths import working_directory

if TYPE_CHECKING:
    from runner.planning.plan import Row


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
@json_option
def plan(
    recipe: str,
    gpus: tuple[str, ...],
    nodes: int,
    spot: bool | None,
    max_cost: float | None,
    overrides: tuple[str, ...],
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
        print_json([{**row.as_json(), **limit} for row in found.rows])
        return
    _print_table(found.rows, max_cost)
    say(f"\nPrices: {found.prices}. Times and costs are estimates.")
    for note in found.notes:
        say(f"Note: {note}.")


def _print_table(rows: "Sequence[Row]", max_cost: float | None) -> None:
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
        show("\n".join(f"  {row.fit.accelerators}: {row.fit.reason}" for row in refused))


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
