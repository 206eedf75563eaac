"""``runner jobs``."""

from pathlib import Path
from typing import Any

import click

from runner.cli.options import json_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError
from runner.paths import working_directory


@click.command()
@json_option
def jobs(as_json: bool) -> None:
    """List the recipes that can be launched by name.

    Those in ./jobs come first, and hide shipped ones of the same name.

    \b
    Example:
      runner jobs
    """
    from runner.recipe.loading.finder import available_recipes

    cwd = working_directory()
    rows = [_row(name, path, cwd) for name, path in available_recipes(cwd).items()]
    if as_json:
        print_json(rows)
    elif rows:
        show(_table(rows))
    else:
        say("no recipes here: write one into ./jobs")


def _row(name: str, path: Path, cwd: Path) -> dict[str, Any]:
    from runner.recipe.loading.finder import description, read_recipe
    from runner.recipe.loading.load import load_recipe

    row: dict[str, Any] = {
        "name": name,
        "path": str(path),
        "method": None,
        "model": None,
        "description": "",
        "error": None,
    }
    try:
        row["description"] = description(read_recipe(path, shown_as=str(path)))
        recipe = load_recipe(str(path), cwd=cwd).recipe
    except UserError as error:
        row["error"] = str(error)
    else:
        row |= {"method": recipe.methods, "model": recipe.model["model_name_or_path"]}
    return row


def _table(rows: list[dict[str, Any]]) -> str:
    from runner.reports.tables import text_table

    return text_table(
        ["NAME", "METHOD", "MODEL", "DESCRIPTION"],
        [
            [row["name"], row["method"] or "-", row["model"] or "-", row["description"]]
            if row["error"] is None
            else [row["name"], "broken", "-", f"`runner check {row['name']}` says what is wrong"]
            for row in rows
        ],
    )
