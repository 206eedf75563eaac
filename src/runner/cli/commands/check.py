"""``runner check``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import json_option
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.recipe.loading.load import LoadedRecipe


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
    from runner.recipe.loading.load import load_recipe

    rows: list[dict[str, Any]] = []
    for recipe in recipes:
        try:
            loaded = load_recipe(recipe, overrides=overrides, cwd=Path.cwd())
            if online:
                _ask_hub(recipe, loaded)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            rows.append({"recipe": recipe, "ok": False, "problems": _problems(error)})
        else:
            rows.append(_row(recipe, loaded))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            if row["ok"]:
                click.echo(_line(row))
    if not all(row["ok"] for row in rows):
        raise click.exceptions.Exit(2)


def _ask_hub(recipe: str, loaded: "LoadedRecipe") -> None:
    from runner.hub.check import check_hub_access, run_token

    check_hub_access(
        loaded.recipe,
        run_token({}, here=True),
        where=str(loaded.path),
        locate=loaded.locate,
        say=lambda sentence: click.echo(f"{recipe}: {sentence}", err=True),
    )


def _row(recipe: str, loaded: "LoadedRecipe") -> dict[str, Any]:
    return {
        "recipe": recipe,
        "ok": True,
        "path": str(loaded.path),
        "name": loaded.recipe.name,
        "method": loaded.recipe.methods,
        "model": loaded.recipe.model["model_name_or_path"],
        "data_sources": sum(len(stage.data.train) for stage in loaded.recipe.in_order),
    }


def _line(row: dict[str, Any]) -> str:
    count = row["data_sources"]
    return f"{row['recipe']}: ok ({row['method']}, {row['model']}, {count} data source{'s' if count > 1 else ''})"


def _problems(error: UserError) -> list[dict[str, str | None]]:
    from runner.recipe.problems import RecipeError, dotted_path

    if not isinstance(error, RecipeError):
        return [{"setting": None, "where": error.where, "what": error.what, "remedy": error.remedy}]
    return [
        {"setting": dotted_path(problem.path) or None, "where": place, "what": problem.what, "remedy": problem.remedy}
        for problem, place in zip(error.problems, error.places, strict=True)
    ]
