"""``runner extend``."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from runner.cli.options import (
    cluster_option,
    environment_options,
    image_option,
    json_option,
    machine_options,
    run_argument,
    store_option,
    yes_option,
)
from runner.cli.output import other_output, say

if TYPE_CHECKING:
    from runner.backends.base import ResourceOptions
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
@machine_options
@cluster_option
@image_option
@environment_options
@yes_option
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background, and print its id.")
@json_option
@store_option
def extend(
    store: "Store",
    run: str,
    steps: int | None,
    epochs: float | None,
    schedule: Literal["constant", "rewarm"],
    name: str | None,
    resource_options: "ResourceOptions",
    cluster: str | None,
    image: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    yes: bool,
    detach: bool,
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
        resources=resource_options,
        cluster=cluster,
        image=image,
        env_files=[Path(file) for file in env_files],
        secrets=secrets,
        detach=detach,
    )
    talk = Talk(confirm=ask_on_terminal(yes=yes), say=say, typed=as_typed, output=other_output())
    launched = start(store, find_run(store, run), options, talk=talk)
    raise click.exceptions.Exit(follow(store, launched, detach=detach, as_json=as_json))
