"""``runner sweep launch``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import other_output, print_json, say, show
from runner.cli.placement import detach_option, environment_options, image_option, machine_options, yes_option

if TYPE_CHECKING:
    from runner.backends.base import ResourceOptions
    from runner.storage.store import Store


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a setting of the recipe for all trials, such as training.max_steps=60.",
)
@click.option("--name", metavar="NAME", help="The sweep's id.")
@click.option("--parallel", metavar="N", type=click.IntRange(min=1), help="How many trials train at once.")
@click.option("--run-cap", metavar="N", type=click.IntRange(min=1), help="The most trials.")
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0, min_open=True), help="For the whole sweep.")
@click.option(
    "--max-hours", metavar="H", type=click.FloatRange(min=0, min_open=True), help="Hours in which it has workers."
)
@click.option(
    "--from", "known", metavar="RUN|SWEEP", multiple=True, help="Earlier results that count. May be repeated."
)
@machine_options
@image_option
@environment_options
@yes_option
@detach_option
@click.option("--dry-run", is_flag=True, help="Check all of it, print what it will take, and do nothing.")
@json_option
@store_option
def launch(
    store: "Store",
    file: str,
    overrides: tuple[str, ...],
    name: str | None,
    parallel: int | None,
    run_cap: int | None,
    max_cost: float | None,
    max_hours: float | None,
    known: tuple[str, ...],
    resource_options: "ResourceOptions",
    image: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    yes: bool,
    detach: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Search for the best values of a recipe's settings.

    FILE is a W&B sweep configuration: a path, or a name in jobs/sweeps/. Each trial is a run. At a rung it pauses
    with a checkpoint, and if it is among the best it goes on from there, on whatever machine is free. Ctrl-C pauses
    a sweep on this machine, and `runner sweep resume` goes on with it.

    \b
    Example:
      runner sweep launch quickstart-halving
      runner sweep launch my-sweep.yaml --gpu L4 --gpu A100 --spot --parallel 8 --max-cost 40 --detach
    """
    from runner.cli.confirm import ask_on_terminal
    from runner.cli.follow_sweep import follow
    from runner.cli.hints import as_typed
    from runner.control.sweeping.define import SweepOptions
    from runner.control.sweeping.launch import launch_sweep, prepare_sweep

    options = SweepOptions(
        file=file,
        overrides=overrides,
        name=name,
        parallel=parallel,
        run_cap=run_cap,
        max_cost=max_cost,
        max_hours=max_hours,
        known=known,
        resources=resource_options,
        image=image,
        env_files=[Path(path) for path in env_files],
        secrets=secrets,
        detach=detach,
    )
    if dry_run:
        prepared = prepare_sweep(store, options, say=say)
        if as_json:
            print_json({"sweep": prepared.definition.to_mapping(), **prepared.request.as_json()})
        else:
            show("\n".join(prepared.plan.lines()) + "\n\n" + prepared.request.as_text(), nl=False)
        return
    confirm = ask_on_terminal(yes=yes)
    launched = launch_sweep(store, options, confirm=confirm, say=say, typed=as_typed, output=other_output())
    raise click.exceptions.Exit(follow(store, launched, detach=detach, as_json=as_json))
