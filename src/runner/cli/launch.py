"""``runner launch``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import environment_options, json_option, recipe_argument, store_option

if TYPE_CHECKING:
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
    "--infra", metavar="INFRA", default="local", show_default=True, help="Where: local or docker, on this machine."
)
@click.option(
    "--image", metavar="REF", help="With --infra docker: the image, by name or digest. Default: runner:cuda or :cpu."
)
@environment_options
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background, and print its id.")
@click.option("--dry-run", is_flag=True, help="Print what would be written and run, and do nothing.")
@json_option
@store_option
def launch(
    store: "Store",
    recipe: str,
    overrides: tuple[str, ...],
    name: str | None,
    infra: str,
    image: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start a run of a recipe and follow it to its end.

    RECIPE is the name of one that is at hand (see `runner jobs`) or a path. Ctrl-C saves and stops; `runner resume`
    goes on. Exits 0 if the run succeeded, 1 if it failed, 2 for a mistake in the recipe, 75 if it was interrupted.

    \b
    Example:
      runner launch quickstart
      runner launch my-recipe.yaml --set training.learning_rate=1e-4 --name first-try --detach
    """
    from runner.cli.follow import run_attached, run_detached, say
    from runner.launch.begin import begin, rehearse
    from runner.launch.environment import chosen_environment
    from runner.launch.export import require_exports
    from runner.launch.prepare import prepare, require_training_side
    from runner.launch.submit import checked_name, needed_environment, revision_of
    from runner.spec.errors import UserError
    from runner.spec.load import load_recipe

    if infra not in ("local", "docker"):
        remedy = "local trains in processes of this machine, docker in a container on it"
        raise UserError(f"there is no infra {infra!r}; there are: local, docker", where="--infra", remedy=remedy)
    if image is not None and infra == "local":
        raise UserError("runs of --infra local are in no image", where="--image", remedy="add --infra docker")
    loaded = load_recipe(recipe, overrides=overrides, cwd=Path.cwd())
    files = [Path(file) for file in env_files]
    environment = chosen_environment(files, secrets)
    prepared = prepare(loaded)
    run_name = None if name is None else checked_name(name)
    revision = revision_of(loaded.path.parent)
    pinned = None
    if infra == "docker":
        from runner.launch.docker import image_for

        pinned = image_for(image).pinned
    if dry_run:
        document, command, why = rehearse(
            store, prepared, name=run_name, git_revision=revision, infra=infra, image=pinned
        )
        _print_dry_run(document, command, why, as_json=as_json)
        return
    if infra == "local":
        require_training_side()
    require_exports(prepared.recipe["export"], environment, here=infra == "local")
    run_id, lock = begin(store, prepared, name=run_name, git_revision=revision, say=say, infra=infra, image=pinned)
    environment |= chosen_environment(files, secrets, needed=needed_environment(store, run_id))
    follow = run_detached if detach else run_attached
    raise click.exceptions.Exit(follow(store, run_id, lock, environment=environment, as_json=as_json))


def _print_dry_run(document: dict[str, Any], command: list[str], why: str | None, *, as_json: bool) -> None:
    from runner.cli.follow import say
    from runner.cli.forms import print_json
    from runner.launch.submit import encoded

    if why:
        say(why)
    if as_json:
        print_json({"run": document, "command": command})
        return
    click.echo(encoded(document), nl=False)
    click.echo(shlex.join(command))
