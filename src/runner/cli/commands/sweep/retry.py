"""``runner sweep retry``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option, sweep_argument
from runner.cli.output import print_json, say

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@sweep_argument
@click.argument("trials", metavar="[TRIAL]...", type=click.IntRange(min=0), nargs=-1)
@json_option
@store_option
def retry(store: "Store", sweep: str, trials: tuple[int, ...], as_json: bool) -> None:
    """Let failed trials of a sweep be trained again, with the same values.

    TRIAL is a trial's number; without one, all that have failed. Each keeps its number, goes on from its last
    checkpoint, and is taken by a worker of the sweep; if there is none, `runner sweep resume` starts some.

    \b
    Example:
      runner sweep retry last
      runner sweep retry last 3 17
    """
    from runner.control.sweeping.find import find_sweep
    from runner.control.sweeping.retry import retry_trials

    sweep_id = find_sweep(store, sweep)
    done = retry_trials(store, sweep_id, trials)
    if as_json:
        print_json({"sweep_id": sweep_id, "trials": list(done.trials), "needs_resume": done.needs_resume})
    if not done.trials:
        say(f"no trial of {sweep_id} has failed")
        return
    shown = ", ".join(map(str, done.trials))
    say(f"may be trained again: {'trial' if len(done.trials) == 1 else 'trials'} {shown}")
    again = [str(number) for number, kind in done.kinds.items() if kind in ("diverged", "out_of_memory", "mistake")]
    if again:
        say(f"what failed because of its values fails again, unless something else has changed: {', '.join(again)}")
    if done.needs_resume:
        say(f"no worker takes them now: `runner sweep resume {sweep_id}` starts some")
