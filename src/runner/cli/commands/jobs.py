"""``runner jobs``."""

import textwrap
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
    from runner.control.launching.warm_start import start_resolver
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
        recipe = load_recipe(str(path), cwd=cwd, start=start_resolver()).recipe
    except UserError as error:
        row["error"] = str(error)
    else:
        row |= {"method": recipe.methods, "model": recipe.model["model_name_or_path"]}
    return row


def _table(rows: list[dict[str, Any]]) -> str:
    """Return a table; where that is too wide for the terminal, items with the description below the name."""
    from runner.reports.tables import output_width, text_table

    titles = ["NAME", "METHOD", "MODEL", "DESCRIPTION"]
    cells = [
        [row["name"], row["method"] or "-", row["model"] or "-", row["description"]]
        if row["error"] is None
        else [row["name"], "broken", "-", f"`runner check {row['name']}` says what is wrong"]
        for row in rows
    ]
    table, width = text_table(titles, cells), output_width()
    if width is None or all(len(line) <= width for line in table.splitlines()):
        return table
    indent = "    "
    return "\n".join(
        "\n".join(
            [
                f"{name} ({method})" if model == "-" else f"{name} ({method}, {model})",
                *textwrap.wrap(text, max(width, 40), initial_indent=indent, subsequent_indent=indent),
            ]
        )
        for name, method, model, text in cells
    )
