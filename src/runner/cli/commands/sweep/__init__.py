"""``runner sweep``: a group with a file for each command."""

import click

from runner.cli.lazy import LazyGroup

COMMANDS = {
    "launch": "Search for the best values of a recipe's settings.",
    "ls": "List sweeps, the newest first.",
    "status": "Show where a sweep stands: its rungs, its trials, and why each of them stopped or went on.",
    "best": "Print the recipe of a sweep's best trial, ready to be launched.",
    "results": "Print a sweep's trials with their parameters and results, one line each.",
    "stop": "Pause a sweep and end its machines.",
    "resume": "Go on with a sweep: it was stopped, its budget was spent, or its workers are gone.",
    "retry": "Let failed trials of a sweep be trained again, with the same values.",
    "change": "Draw the trials of a sweep that are still to come from another space.",
}
"""Each command's name, which is its module here, and the first sentence of its help."""

_MEANT = {
    **dict.fromkeys(("run", "start", "create", "train", "submit"), "launch …"),
    **dict.fromkeys(("list", "ps"), "ls"),
    **dict.fromkeys(("show", "info", "top", "watch"), "status …"),
    **dict.fromkeys(("cancel", "kill", "pause", "end"), "stop …"),
    **dict.fromkeys(("continue", "restart"), "resume …"),
    **dict.fromkeys(("winner", "top1"), "best …"),
    **dict.fromkeys(("trials", "leaderboard", "table"), "results …"),
    "agent": "resume …",
    "help": "--help",
}


@click.group(cls=LazyGroup, table=COMMANDS, package="runner.cli.commands.sweep", program="runner sweep", meant=_MEANT)
def sweep() -> None:
    """Search for the best values of a recipe's settings, over many runs.

    \b
    Example:
      runner sweep launch quickstart-halving
      runner sweep status last
      runner sweep best last --out best.yaml
    """
