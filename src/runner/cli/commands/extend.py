"""``runner extend``."""

from typing import TYPE_CHECKING, Literal

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import other_output, say
from runner.cli.placement import start_options

if TYPE_CHECKING:
    from runner.control.launching.checks import StartOptions
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="So many more optimizer steps.")
@click.option(
    "--epochs", metavar="N", type=click.FloatRange(min=0, min_open=True), help="So many more epochs, in steps."
)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "rewarm"]),
    default="constant",
    show_default=True,
    help="The learning rate: `constant`, as the run ended, but at least a tenth of its recipe's; `rewarm`: the "
    "recipe's schedule, with its warm-up, once more over these steps.",
)
@click.option("--name", metavar="NAME", help="The new run's id.")
@start_options
@json_option
@store_option
def extend(
    store: "Store",
    run: str,
    steps: int | None,
    epochs: float | None,
    schedule: Literal["constant", "rewarm"],
    name: str | None,
    options: "StartOptions",
    yes: bool,
    as_json: bool,
) -> None:
    """Train a run that has ended for more steps, as a run of its own.

    It goes on from the last checkpoint, with the optimizer, the random streams and the order of the data as if the run
    had been longer. The other run stays as it is.

    \b
    Example:
      runner extend last --steps 200
      runner extend quickstart-ab12 --epochs 1 --schedule rewarm --gpu A100
    """
    from runner.cli.confirm import ask_on_terminal
    from runner.cli.follow import follow
    from runner.cli.hints import as_typed
    from runner.control.results.again import Talk
    from runner.control.results.extend import ExtendOptions
    from runner.control.results.extend import extend as start
    from runner.runs.listing import find_run

    options = ExtendOptions(
        steps=steps,
        epochs=epochs,
        schedule=schedule,
        name=name,
        **options.fields(),
    )
    talk = Talk(confirm=ask_on_terminal(yes=yes), say=say, typed=as_typed, output=other_output())
    launched = start(store, find_run(store, run), options, talk=talk)
    raise click.exceptions.Exit(follow(store, launched, detach=options.detach, as_json=as_json))
