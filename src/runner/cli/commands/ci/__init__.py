"""``runner ci``: a group with a file for each command."""

import click

from runner.cli.lazy import LazyGroup

COMMANDS = {
    "changed": "List the recipes that a change is about.",
    "comment": "Read a comment that launches.",
    "launch": "Launch a recipe from a CI job, once, and leave it running.",
    "finish": "Wait for a run, hold it against requirements, and write what the job keeps.",
    "collect": "Report the runs that other jobs have left, and that have ended.",
}
"""Each command's name, which is its module here, and the first sentence of its help."""


@click.group(cls=LazyGroup, table=COMMANDS, package="runner.cli.commands.ci", program="runner ci")
def ci() -> None:
    """Launch, wait and report in a job of a CI system.

    \b
    Example:
      runner ci launch my-recipe.yaml
      runner ci finish RUN --timeout 3600 --require 'eval_loss <= 2'
    """
