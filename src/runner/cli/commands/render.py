"""``runner render``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import recipe_argument
from runner.cli.output import say, show
from runner.cli.placement import image_option, machine_options, secret_option

if TYPE_CHECKING:
    from runner.backends.base import ResourceOptions


@click.command()
@recipe_argument
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a setting, such as training.learning_rate=1e-4.",
)
@click.option("--name", metavar="NAME", help="The run's id.")
@machine_options
@image_option
@secret_option
@click.option(
    "--store", metavar="URL", envvar="RUNNER_STORE", show_envvar=True, help="Where the run is to live: s3://BUCKET/…"
)
def render(
    recipe: str,
    overrides: tuple[str, ...],
    name: str | None,
    resource_options: "ResourceOptions",
    image: str | None,
    secrets: tuple[str, ...],
    store: str | None,
) -> None:
    """Print the SkyPilot task that a launch would send.

    `sky jobs launch FILE` runs it by hand; secrets stand in it by name, and are passed with `--secret NAME`. Nothing is
    written to the store: the task brings the run's record along.

    \b
    Example:
      runner render smollm2-135m-lora --gpu a100:8 --store s3://my-bucket/runner
    """
    from runner.control.launch import LaunchOptions
    from runner.control.launch import render as build
    from runner.remembered import default_store

    options = LaunchOptions(
        recipe=recipe, overrides=overrides, name=name, resources=resource_options, image=image, secrets=secrets
    )
    found = build(store or default_store(), options, say=say)
    if found.inputs:
        files = ", ".join(sorted(path.name for path in found.inputs))
        say(f"{files}: only `runner launch` brings local files to the store; by hand this task fails")
    show(found.request.as_text(), nl=False)
