"""``runner check``."""

from typing import Any

import click

from runner.cli.options import json_option
from runner.cli.output import print_json, say, show
from runner.paths import working_directory


@click.command()
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True)
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Check with a setting changed; may be repeated."
)
@click.option("--online", is_flag=True, help="Ask the Hugging Face hub too for the models and data that they name.")
@json_option
def check(recipes: tuple[str, ...], overrides: tuple[str, ...], online: bool, as_json: bool) -> None:
    """Say whether recipes are valid, and what is wrong with them.

    Nothing is written and nothing is downloaded, and without --online no network is used. Exits 2 if any recipe is
    wrong.

    \b
    Example:
      runner check quickstart
      runner check jobs/*.yaml --set training.learning_rate=1e-4
    """
    from runner.control.recipes.check import check_recipe_named

    found = []
    for recipe in recipes:
        checked = check_recipe_named(recipe, overrides=overrides, online=online, cwd=working_directory(), say=say)
        if checked.error is not None:
            say(f"Error: {checked.error}")
        for sentence in (*checked.warnings, *checked.notes):
            say(f"{recipe}: {sentence}" if sentence in checked.notes else sentence)
        found.append(checked)
    rows = [checked.as_json() for checked in found]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            if row["ok"]:
                show(_line(row))
    if not all(row["ok"] for row in rows):
        raise click.exceptions.Exit(2)


def _line(row: dict[str, Any]) -> str:
    count = row["data_sources"]
    return f"{row['recipe']}: ok ({row['method']}, {row['model']}, {count} data source{'s' if count > 1 else ''})"
