"""``runner launch``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import (
    cluster_option,
    environment_options,
    image_option,
    json_option,
    machine_options,
    recipe_argument,
    store_option,
    yes_option,
)

if TYPE_CHECKING:
    from runner.backends.skypilot.resources import ResourceOptions
    from runner.runs.record_types.run import RunDocument
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
@machine_options
@cluster_option
@image_option
@environment_options
@yes_option
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background, and print its id.")
@click.option("--dry-run", is_flag=True, help="Print what would be written and run, and do nothing.")
@json_option
@store_option
def launch(
    store: "Store",
    recipe: str,
    overrides: tuple[str, ...],
    name: str | None,
    resource_options: "ResourceOptions",
    cluster: str | None,
    image: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    yes: bool,
    detach: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start a run of a recipe and follow it to its end.

    RECIPE is the name of one that is at hand (see `runner jobs`) or a path. On this machine, Ctrl-C saves and stops,
    and `runner resume` goes on; a run that SkyPilot has goes on without us. Exits 0 if the run succeeded, 1 if it
    failed, 2 for a mistake in the recipe, 75 if it was interrupted.

    \b
    Example:
      runner launch quickstart
      runner launch my-recipe.yaml --set training.learning_rate=1e-4 --name first-try --detach
      runner launch smollm2-135m-lora --gpu L4 --gpu A10G --spot --store s3://my-bucket/runs
    """
    from runner.backends.environment import chosen_environment
    from runner.backends.skypilot.client import require_sky
    from runner.backends.skypilot.request import plan, remote_task
    from runner.backends.skypilot.resources import place_of
    from runner.backends.skypilot.store_access import access
    from runner.cli.confirm import confirm_cost
    from runner.cli.follow import launch_remote, run_attached, run_detached
    from runner.cli.output import say, say_notes
    from runner.control.export import require_exports
    from runner.control.launch import begin, new_or_old, rehearse, rehearsed
    from runner.control.prepare import prepare
    from runner.control.submit import checked_name
    from runner.control.training_process import require_training_side
    from runner.errors import UserError
    from runner.git import revision_of
    from runner.hub.check import check_hub_access, run_token
    from runner.recipe.loading.load import load_recipe
    from runner.runs.layout import SECRET_NAMES
    from runner.runs.submission import needed_environment

    place = place_of(resource_options, cluster)
    if image is not None and place == "local":
        raise UserError("runs of --infra local are in no image", where="--image", remedy="add --infra docker")
    loaded = load_recipe(recipe, overrides=overrides, cwd=Path.cwd())
    files = [Path(file) for file in env_files]
    environment = chosen_environment(files, secrets)
    prepared = prepare(loaded)
    run_name = None if name is None else checked_name(name)
    revision = revision_of(loaded.path.parent)
    if place is None:
        planned = plan(loaded.recipe, resource_options, image)
        say_notes(planned.resources)
        if dry_run:
            document, why = rehearsed(store, prepared, planned, name=run_name, git_revision=revision)
            content, _ = remote_task(document, store.url, secrets=[key for key in environment if key != SECRET_NAMES])
            _print_task(document, content, why, as_json=as_json)
            return
        access(store.url, planned.resources).required()
        require_sky()
        token = run_token(environment, here=False)
        require_exports(prepared.recipe["export"], token, here=False)
        check_hub_access(loaded.recipe, token, where=str(loaded.path), locate=loaded.locate, say=say)
        confirm_cost(loaded.recipe, planned.resources, yes=yes)
        document = new_or_old(store, prepared, planned, name=run_name, git_revision=revision, say=say)
        code = launch_remote(store, document, cluster=cluster, environment=environment, detach=detach, as_json=as_json)
        raise click.exceptions.Exit(code)
    pinned = None
    if place == "docker":
        from runner.backends.docker.backend import image_for

        pinned = image_for(image).pinned
    if dry_run:
        document, command, why = rehearse(
            store, prepared, name=run_name, git_revision=revision, infra=place, image=pinned
        )
        _print_dry_run(document, command, why, as_json=as_json)
        return
    if place == "local":
        require_training_side()
    token = run_token(environment, here=place == "local")
    require_exports(prepared.recipe["export"], token, here=place == "local")
    check_hub_access(loaded.recipe, token, where=str(loaded.path), locate=loaded.locate, say=say)
    run_id, lock = begin(store, prepared, name=run_name, git_revision=revision, say=say, infra=place, image=pinned)
    environment |= chosen_environment(files, secrets, needed=needed_environment(store, run_id))
    follow = run_detached if detach else run_attached
    raise click.exceptions.Exit(follow(store, run_id, lock, environment=environment, as_json=as_json))


def _print_dry_run(document: "RunDocument", command: list[str], why: str | None, *, as_json: bool) -> None:
    from runner.cli.output import print_json, say
    from runner.runs.records import encoded

    if why:
        say(why)
    if as_json:
        print_json({"run": document, "command": command})
        return
    click.echo(encoded(document), nl=False)
    click.echo(shlex.join(command))


def _print_task(document: "RunDocument", content: dict[str, Any], why: str | None, *, as_json: bool) -> None:
    from runner.backends.skypilot.task import task_yaml
    from runner.cli.output import print_json, say

    if why:
        say(why)
    if as_json:
        print_json({"run": document, "task": content})
        return
    click.echo(task_yaml(content), nl=False)
