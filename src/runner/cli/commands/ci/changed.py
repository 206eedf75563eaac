"""``runner ci changed``."""

import os
from pathlib import Path

import click

from runner.cli.options import json_option
from runner.cli.output import say, show


@click.command()
@click.argument("recipes", metavar="[RECIPE]...", nargs=-1)
@click.option("--since", metavar="COMMIT", help="The commit to compare with. Default: what the CI system says.")
@json_option
def changed(recipes: tuple[str, ...], since: str | None, as_json: bool) -> None:
    """List the recipes that a change is about.

    RECIPE is a file; without any, those in jobs/. One has changed if its file has, or data or code of the repository
    that it names. Without a commit to compare with, all count. With --json, the list is in one line, for a matrix.

    \b
    Example:
      runner ci changed
      runner ci changed jobs/*.yaml --since origin/main
    """
    import json

    from runner.control.ci.changed import changed_recipes
    from runner.control.ci.event import read_event
    from runner.control.ci.finish import give_outputs

    files = list(recipes) or sorted(str(path) for path in Path("jobs").glob("*.y*ml"))
    before = since or read_event(os.environ).before
    found = changed_recipes(files, before, cwd=Path.cwd(), say=say)
    give_outputs({"recipes": json.dumps(found)})
    if as_json:
        show(json.dumps(found))
    else:
        for recipe in found:
            show(recipe)
