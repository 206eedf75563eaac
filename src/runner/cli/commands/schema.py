"""``runner schema``."""

import click

from runner.cli.output import show


@click.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors.

    An editor with a YAML language server completes and checks a recipe whose first line names the file:
    `# yaml-language-server: $schema=recipe.schema.json`.

    \b
    Example:
      runner schema > jobs/recipe.schema.json
    """
    from runner.recipe.schema import SCHEMA_FILE

    show(SCHEMA_FILE.read_text(), nl=False)
