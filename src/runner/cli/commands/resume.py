"""``runner resume``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import (
    budget_options,
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
@machine_options
@budget_options
@cluster_option
@image_option
@environment_options
@click.option(
    "--replace",
    metavar="FILE",
    multiple=True,
    type=click.Path(dir_okay=False),
    help="A mended reward file, in place of the one of that name in the recipe. May be repeated.",
)
@yes_option
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background, and print its id.")
@json_option
@store_option
def resume(
    store: "Store",
    run: str,
    resource_options: "ResourceOptions",
    max_cost: float | None,
    hourly_cost: float | None,
    cluster: str | None,
    image: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    replace: tuple[str, ...],
    yes: bool,
    detach: bool,
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
        resources=resource_options,
        cluster=cluster,
        image=image,
        env_files=[Path(file) for file in env_files],
        secrets=secrets,
        max_cost=max_cost,
        hourly_cost=hourly_cost,
        replace=[Path(file) for file in replace],
        detach=detach,
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
    raise click.exceptions.Exit(follow(store, launched, detach=detach, as_json=as_json))
