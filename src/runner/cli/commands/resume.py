"""``runner resume``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import other_output, say
from runner.cli.placement import start_options

if TYPE_CHECKING:
    from runner.control.launching.checks import StartOptions
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option(
    "--replace",
    metavar="FILE",
    multiple=True,
    type=click.Path(dir_okay=False),
    help="A mended reward file, in place of the one of that name in the recipe. May be repeated.",
)
@start_options
@json_option
@store_option
def resume(
    store: "Store",
    run: str,
    options: "StartOptions",
    replace: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Continue a run that was interrupted, or that failed, from its last checkpoint.

    It ends as if it had never been interrupted. It goes on where it was, or where the options say: what began in a
    notebook goes on on a cloud GPU, and what a cloud has no machine for goes on here or on another.

    Why a run failed is said first; on a terminal you are asked whether to go on with it.

    \b
    Example:
      runner resume last
      runner resume last --gpu A100 --gpu L40S --spot
      runner resume last --infra local
      runner resume last --replace rewards.py
      runner resume last --max-cost 40
    """
    from runner.cli.confirm import ask_on_terminal, ask_to_go_on
    from runner.cli.follow import follow
    from runner.cli.hints import as_typed
    from runner.control.resume import ResumeOptions
    from runner.control.resume import resume as start
    from runner.runs.listing import find_run

    options = ResumeOptions(
        run_id=find_run(store, run),
        replace=[Path(file) for file in replace],
        **options.fields(),
    )
    confirm = ask_on_terminal(yes=yes)
    launched = start(
        store,
        options,
        confirm=confirm,
        confirm_failed=ask_to_go_on(yes=yes),
        say=say,
        typed=as_typed,
        output=other_output(),
    )
    raise click.exceptions.Exit(follow(store, launched, detach=options.detach, as_json=as_json))
