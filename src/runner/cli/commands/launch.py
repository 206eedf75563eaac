"""``runner launch``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, recipe_argument, store_option
from runner.cli.output import other_output, print_json, say, show
from runner.cli.placement import start_options

if TYPE_CHECKING:
    from runner.control.launching.checks import StartOptions
    from runner.storage.store import Store


@click.command()
@recipe_argument
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a setting, such as training.learning_rate=1e-4.",
)
@click.option("--name", metavar="NAME", help="The run's id; launched again, an unfinished run of that name goes on.")
@click.option(
    "--once",
    is_flag=True,
    help="Name it after recipe, settings and commit, and join the run of that name if it is there.",
)
@start_options
@click.option("--dry-run", is_flag=True, help="Print what would be written and run, and do nothing.")
@json_option
@store_option
def launch(
    store: "Store",
    recipe: str,
    overrides: tuple[str, ...],
    name: str | None,
    once: bool,
    options: "StartOptions",
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start a run of a recipe and follow it to its end.

    RECIPE is a name (see `runner jobs`) or a path. On this machine, Ctrl-C saves and stops,
    and `runner resume` goes on; a run that SkyPilot has goes on without us. Exits 0 if the run succeeded, 1 if it
    failed, 2 for a mistake in the recipe, 75 if it was interrupted.

    \b
    Example:
      runner launch quickstart
      runner launch my-recipe.yaml --set training.learning_rate=1e-4 --detach
      runner launch smollm2-135m-lora --gpu L4 --spot --store s3://my-bucket/x
    """
    from runner.cli.confirm import ask_on_terminal
    from runner.cli.follow import follow
    from runner.cli.hints import as_typed
    from runner.control.launch import LaunchOptions
    from runner.control.launch import dry_run as rehearse
    from runner.control.launch import launch as start
    from runner.control.once import launch_once

    options = LaunchOptions(
        recipe=recipe,
        overrides=overrides,
        name=name,
        once=once,
        **options.fields(),
    )
    if not dry_run:
        confirm = ask_on_terminal(yes=yes)
        begin = launch_once if once else start
        launched = begin(store, options, confirm=confirm, say=say, typed=as_typed, output=other_output())
        raise click.exceptions.Exit(follow(store, launched, detach=options.detach, as_json=as_json))
    found = rehearse(store, options, say=say)
    if found.message:
        say(found.message)
    if as_json:
        print_json({"run": found.request.document, **found.request.as_json()})
    else:
        show(found.request.as_text(), nl=False)
