"""``runner render``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import image_option, machine_options, recipe_argument, secret_option

if TYPE_CHECKING:
    from runner.backends.skypilot.resources import ResourceOptions


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
      runner render smollm2-135m-lora --gpu a100:8 --spot --store s3://my-bucket/runs
    """
    from runner.backends.environment import checked_names
    from runner.backends.skypilot.request import plan, remote_task
    from runner.backends.skypilot.task import task_yaml
    from runner.cli.output import say_notes
    from runner.control.prepare import prepare
    from runner.control.submit import checked_name, new_run_document
    from runner.errors import UserError
    from runner.git import revision_of
    from runner.paths import default_store
    from runner.recipe.loading.load import load_recipe
    from runner.runs.launches import HERE

    if any(one in HERE for one in resource_options.infra):
        remedy = "`runner launch --dry-run` shows what a run on this machine would do"
        raise UserError("nothing is rendered for this machine", where="--infra", remedy=remedy)
    loaded = load_recipe(recipe, overrides=overrides, cwd=Path.cwd())
    planned = plan(loaded.recipe, resource_options, image)
    prepared = prepare(loaded)
    document = new_run_document(
        prepared,
        run_id=None if name is None else checked_name(name),
        git_revision=revision_of(loaded.path.parent),
        infra=planned.resources.infra,
        image=planned.image,
        machines=planned.resources,
    )
    content, _ = remote_task(document, store or default_store(), secrets=checked_names(secrets))
    say_notes(planned.resources)
    if prepared.inputs:
        files = ", ".join(sorted(path.name for path in prepared.inputs.values()))
        click.echo(f"{files}: only `runner launch` brings local files to the store; by hand this task fails", err=True)
    click.echo(task_yaml(content), nl=False)
