"""``runner preview``."""

import click

from runner.cli.options import json_option, recipe_argument


@click.command()
@recipe_argument
@click.option("-n", "rows", type=click.IntRange(0, 1000), default=3, show_default=True, help="How many rows to show.")
@click.option(
    "--measure", type=click.IntRange(0), default=2000, show_default=True, help="Measure up to this many rows."
)
@click.option("--stage", help="The stage to show, in a recipe with stages; the first by default.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a setting; may be repeated.")
@json_option
def preview(recipe: str, rows: int, measure: int, stage: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show rows of a recipe as they are trained on.

    The tokens that the loss sees are green, or between « and » without a terminal. Below are the lengths of rows, how
    many are cut or dropped, and why. The tokenizer is loaded and the data are read; no weights.

    \b
    Example:
      runner preview quickstart
      runner preview my.yaml -n 1 --set training.train_on_turns=last
    """
    import sys

    from runner.cli.output import has_colors
    from runner.control.recipes.preview import preview as show_rows
    from runner.paths import working_directory
    from runner.recipe.loading.load import load_recipe

    loaded = load_recipe(recipe, overrides=overrides, cwd=working_directory())
    code = show_rows(loaded, stage=stage, rows=rows, measured=measure, color=has_colors(sys.stdout), as_json=as_json)
    if code:
        raise click.exceptions.Exit(code)
