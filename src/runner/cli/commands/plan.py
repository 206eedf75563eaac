"""``runner plan``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, recipe_argument

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
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Plan with a setting changed.")
@json_option
def plan(
    recipe: str, gpus: tuple[str, ...], nodes: int, spot: bool | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Show on which GPUs and clouds a recipe fits, and for how much.

    The cheapest comes first; what does not fit comes last, with the reason. Memory, times and costs are estimates.
    Nothing is started, and nothing is downloaded but the model's config.json.

    \b
    Example:
      runner plan smollm2-135m-lora
      runner plan my-recipe.yaml --gpu a100 --gpu h100:8 --spot
    """
    import json

    from runner.fit.accelerators import parse_accelerators
    from runner.hub.model_config import model_config
    from runner.planning.plan import plan as planned
    from runner.planning.prices import load_prices
    from runner.recipe.loading.load import load_recipe

    wanted = [parse_accelerators(gpu, where="--gpu") for gpu in gpus]
    loaded = load_recipe(recipe, overrides=overrides, cwd=Path.cwd()).recipe
    if spot is None:
        spot = bool(loaded.resources.get("use_spot"))
    offers = load_prices()
    rows = planned(loaded, model_config(loaded), offers, wanted=wanted, nodes=nodes, spot=spot)
    if as_json:
        click.echo(json.dumps([row.as_json() for row in rows], indent=2))
        return
    _print_table(rows)
    click.echo(f"\nPrices: {offers.source}. Times and costs are estimates.", err=True)
    for note in dict.fromkeys(note for row in rows if row.fit.fits for note in row.as_json()["notes"]):
        click.echo(f"Note: {note}.", err=True)


def _print_table(rows: "list[Row]") -> None:
    from runner.planning.plan import dollar_range, hours_range
    from runner.reports.tables import text_table

    fitting = [row for row in rows if row.fit.fits]
    if fitting:
        headers = ("GPU", "INFRA", "BATCH", "PRECISION", "MEMORY", "TIME", "$/H", "COST")
        click.echo(
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
                        "-" if row.cost is None else dollar_range(row.cost),
                    )
                    for row in fitting
                ],
                right=(6,),
            )
        )
    refused = [row for row in rows if not row.fit.fits]
    if refused:
        click.echo("\nDoes not fit:" if fitting else "Fits on none of these:")
        click.echo("\n".join(f"  {row.fit.accelerators}: {row.fit.reason}" for row in refused))


def _batch(row: "Row") -> str:
    fit = row.fit
    text = f"{fit.micro_batch} x {fit.accumulation}"
    if (world := fit.devices * fit.nodes) > 1:
        text += f" x {world} {fit.strategy}"
    return text + (", ckpt" if fit.gradient_checkpointing else "")
