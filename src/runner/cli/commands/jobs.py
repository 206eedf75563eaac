"""``runner jobs``."""

import textwrap
from pathlib import Path
from typing import Any

import click

from runner.cli.options import complete_recipe, json_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError
from runner.paths import working_directory


@click.command()
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_recipe)
@click.option("--copy", is_flag=True, help="Copy it into ./jobs, with the files that it names, to change it.")
@json_option
def jobs(name: str | None, copy: bool, as_json: bool) -> None:
    """List the recipes that can be launched by name, or print one.

    Those in ./jobs come first, and hide shipped ones of the same name. NAME is a recipe's or a sweep's.

    \b
    Example:
      runner jobs
      runner jobs quickstart
      runner jobs quickstart --copy
    """
    from runner.recipe.loading.finder import available_recipes

    if name is not None:
        _one(name, copy=copy, as_json=as_json)
        return
    if copy:
        raise UserError("which recipe?", where="--copy", remedy="write `runner jobs NAME --copy`")
    cwd = working_directory()
    rows = [_row(name, path, cwd) for name, path in available_recipes(cwd).items()]
    if as_json:
        print_json(rows)
    elif rows:
        show(_table(rows))
    else:
        say("no recipes here: write one into ./jobs")


def _one(name: str, *, copy: bool, as_json: bool) -> None:
    """Print a recipe, or copy it."""
    from runner.control.recipes.named import copy_recipe, find_any
    from runner.recipe.loading.finder import read_recipe

    cwd = working_directory()
    path, is_sweep = find_any(name, cwd)
    copied = copy_recipe(path, cwd, is_sweep=is_sweep) if copy else []
    if as_json:
        text = read_recipe(path, shown_as=str(path))
        print_json({"name": path.stem, "path": str(path), "text": text, "copied": [str(file) for file in copied]})
    elif copied:
        for file in copied:
            show(str(file.relative_to(cwd)))
        launch = "sweep launch" if is_sweep else "launch"
        say(f"`runner {launch} {path.stem}` takes this one from now on in this folder")
    else:
        show(read_recipe(path, shown_as=str(path)), nl=False)


def _row(name: str, path: Path, cwd: Path) -> dict[str, Any]:
    from runner.control.recipes.warm_start import start_resolver
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
