"""``runner sweep change``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option, sweep_argument
from runner.cli.output import print_json, say

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@sweep_argument
@click.argument("file", metavar="FILE")
@json_option
@store_option
def change(store: "Store", sweep: str, file: str, as_json: bool) -> None:
    """Draw the trials of a sweep that are still to come from another space.

    FILE is a sweep's file over the same recipe, with the same metric. Its parameters, its method and its `run_cap` take
    the place of what the sweep has; trials that were drawn, and their results, stay as they are. This also works while
    the sweep runs.

    \b
    Example:
      runner sweep change last my-sweep.yaml
    """
    from runner.control.sweeping.change import change_sweep
    from runner.control.sweeping.find import find_sweep

    sweep_id = find_sweep(store, sweep)
    done = change_sweep(store, sweep_id, file, cwd=Path.cwd())
    for note in done.notes:
        say(note)
    if as_json:
        changes = list(done.lines)
        print_json({"sweep_id": sweep_id, "changes": changes, "needs_resume": bool(changes) and done.needs_resume})
    if not done.lines:
        say(f"nothing is changed: {sweep_id} draws from this space")
        return
    for line in done.lines:
        say(line)
    drawn = len(done.state.trials)
    say(f"{drawn} trials were drawn before, and stay as they are" if drawn else "no trial was drawn yet")
    if done.needs_resume:
        say(f"no worker draws trials now: `runner sweep resume {sweep_id}` goes on")
