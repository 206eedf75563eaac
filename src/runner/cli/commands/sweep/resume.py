"""``runner sweep resume``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option, sweep_argument
from runner.cli.output import other_output, say
from runner.cli.placement import detach_option, environment_options, image_option, machine_options

if TYPE_CHECKING:
    from runner.backends.base import ResourceOptions
    from runner.storage.store import Store


@click.command()
@sweep_argument
@click.option("--parallel", metavar="N", type=click.IntRange(min=1), help="How many workers are started.")
@click.option("--run-cap", metavar="N", type=click.IntRange(min=1), help="The most trials in all.")
@click.option(
    "--max-cost",
    metavar="USD",
    type=click.FloatRange(min=0, min_open=True),
    help="For the whole sweep, what it has cost so far included.",
)
@click.option(
    "--max-hours",
    metavar="H",
    type=click.FloatRange(min=0, min_open=True),
    help="Hours in which it has workers, those so far included.",
)
@machine_options
@image_option
@environment_options
@detach_option
@json_option
@store_option
def resume(
    store: "Store",
    sweep: str,
    parallel: int | None,
    run_cap: int | None,
    max_cost: float | None,
    max_hours: float | None,
    resource_options: "ResourceOptions",
    image: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    detach: bool,
    as_json: bool,
) -> None:
    """Go on with a sweep: it was stopped, its budget was spent, or its workers are gone.

    Trials go on from their checkpoints, and what was decided stays decided. Without options it goes on where it was;
    with them, elsewhere, or further.

    \b
    Example:
      runner sweep resume last
      runner sweep resume last --max-cost 60
      runner sweep resume last --infra local --parallel 1
    """
    from runner.cli.follow_sweep import follow
    from runner.cli.hints import as_typed
    from runner.control.sweeping.find import find_sweep
    from runner.control.sweeping.resume import ResumeSweepOptions, resume_sweep

    options = ResumeSweepOptions(
        sweep_id=find_sweep(store, sweep),
        parallel=parallel,
        run_cap=run_cap,
        max_cost=max_cost,
        max_hours=max_hours,
        resources=resource_options,
        image=image,
        env_files=[Path(path) for path in env_files],
        secrets=secrets,
        detach=detach,
    )
    launched = resume_sweep(store, options, say=say, typed=as_typed, output=other_output())
    raise click.exceptions.Exit(follow(store, launched, detach=detach, as_json=as_json))
