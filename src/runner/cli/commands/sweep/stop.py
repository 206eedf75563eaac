"""``runner sweep stop``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option, sweep_argument
from runner.cli.output import print_json, say
from runner.exit_codes import FAILED

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@sweep_argument
@click.option("--drain", is_flag=True, help="Let trials that run reach their next rung first.")
@json_option
@store_option
def stop(store: "Store", sweep: str, drain: bool, as_json: bool) -> None:
    """Pause a sweep and end its machines.

    Trials that run save a checkpoint at their next step; nothing is lost, and `runner sweep resume` goes on with
    them. The command ends when every backend has said that no machine is left, and fails if one has not.

    \b
    Example:
      runner sweep stop last
      runner sweep stop last --drain
    """
    from runner.cli.hints import as_typed
    from runner.control.sweeping.find import find_sweep
    from runner.control.sweeping.stop import stop_sweep

    sweep_id = find_sweep(store, sweep)
    stopped = stop_sweep(store, sweep_id, drain=drain, say=say)
    if as_json:
        print_json(
            {
                "sweep_id": sweep_id,
                "running": len(stopped.state.running),
                "workers": [
                    {"launch": launch.record["name"], "alive": None if status is None else status.alive}
                    for launch, status in stopped.launches
                ],
                "proven": stopped.proven,
            }
        )
    if drain and stopped.state.ended is None:
        return
    for launch, status in stopped.launches:
        if status is None:
            say(f"{launch.record['name']}: not known to have ended")
        elif not status.ended:
            say(f"{launch.record['name']}: {status.alive} still there ({', '.join(status.statuses)})")
    if not stopped.proven:
        raise click.exceptions.Exit(FAILED)
    ended = stopped.state.ended
    say(f"{sweep_id} {'is stopped' if ended is None else f'has ended ({ended[0]})'}, and none of its machines is left")
    if ended is None:
        say(f"`{as_typed(f'sweep resume {sweep_id}')}` goes on with it")
