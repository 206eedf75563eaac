"""``runner resume``."""

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from runner.backends.skypilot.resources import ResourceOptions
    from runner.runs.record_types.run import RunDocument
    from runner.storage.store import Store


@click.command()
@run_argument
@machine_options
@cluster_option
@image_option
@environment_options
@yes_option
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background, and print its id.")
@json_option
@store_option
def resume(
    store: "Store",
    run: str,
    resource_options: "ResourceOptions",
    cluster: str | None,
    image: str | None,
    env_files: tuple[str, ...],
    secrets: tuple[str, ...],
    yes: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Continue an interrupted run from its last checkpoint.

    It ends as if it had never been interrupted. It goes on where it was, or where the options say: what began in a
    notebook goes on on a cloud GPU, and what a cloud has no machine for goes on here or on another.

    \b
    Example:
      runner resume last
      runner resume last --gpu A100 --gpu L40S --spot
      runner resume last --infra local
    """
    from runner.backends.environment import chosen_environment
    from runner.backends.skypilot.resources import place_of
    from runner.cli.follow import run_attached, run_detached
    from runner.control.resume import acquire_run
    from runner.runs.launches import is_remote, newest_launch, with_current_placement
    from runner.runs.listing import find_run
    from runner.runs.records import run_document
    from runner.runs.submission import needed_environment

    run_id = find_run(store, run)
    launch = newest_launch(store, run_id)
    known = {*needed_environment(store, run_id), *(launch.record.get("environment", ()) if launch else ())}
    environment = chosen_environment([Path(file) for file in env_files], secrets, needed=sorted(known))
    before = with_current_placement(run_document(store, run_id), launch)
    moves = resource_options.any or cluster is not None or image is not None
    if moves and not resource_options.infra and is_remote(before["infra"]):
        place = None  # other machines, as SkyPilot's again
    else:
        place = place_of(resource_options, cluster) if moves else before["infra"]
    if place is None or is_remote(place):
        if not moves:
            cluster = launch.record["cluster"] if launch else None
        asked = (resource_options, image) if moves else None
        code = _there(store, before, asked, cluster, environment, yes=yes, detach=detach, as_json=as_json)
        raise click.exceptions.Exit(code)
    if moves:
        _move_here(store, before, place, image, environment)
    lock = acquire_run(store, run_id)
    follow = run_detached if detach else run_attached
    raise click.exceptions.Exit(follow(store, run_id, lock, environment=environment, as_json=as_json))


def _there(
    store: "Store",
    before: "RunDocument",
    asked: "tuple[ResourceOptions, str | None] | None",
    cluster: str | None,
    environment: dict[str, str],
    *,
    yes: bool,
    detach: bool,
    as_json: bool,
) -> int:
    """Hand the run to SkyPilot: with the machines that were asked for now, or with those that it had."""
    from runner.backends.skypilot.client import require_sky
    from runner.backends.skypilot.request import place, plan_again
    from runner.backends.skypilot.store_access import access
    from runner.cli.confirm import confirm_cost
    from runner.cli.follow import launch_remote
    from runner.cli.output import say_notes
    from runner.control.resume import interrupted_run, relocate
    from runner.recipe.recipe import Recipe

    run_id = before["run_id"]
    if asked is None:
        document = interrupted_run(store, run_id)
    else:
        planned = plan_again(before, *asked)
        say_notes(planned.resources)
        access(store.url, planned.resources).required()
        require_sky()
        _require_what_it_names(before, environment, here=False)
        confirm_cost(Recipe.from_mapping(before["recipe"]), planned.resources, yes=yes)
        document = relocate(store, run_id, place(planned))
    return launch_remote(store, document, cluster=cluster, environment=environment, detach=detach, as_json=as_json)


def _move_here(
    store: "Store", before: "RunDocument", infra: str, image: str | None, environment: dict[str, str]
) -> None:
    """Note that the run goes on on this machine; in the image that it had, unless another is asked for."""
    from runner.control.resume import relocate_here
    from runner.control.training_process import require_training_side
    from runner.errors import UserError

    pinned = None
    if infra == "docker":
        from runner.backends.docker.backend import image_for

        pinned = image_for(image or before.get("image")).pinned
    elif image is not None:
        raise UserError("runs of --infra local are in no image", where="--image", remedy="add --infra docker")
    else:
        require_training_side()
    _require_what_it_names(before, environment, here=infra == "local")
    relocate_here(store, before["run_id"], infra=infra, image=pinned, environment=list(environment))


def _require_what_it_names(before: "RunDocument", environment: dict[str, str], *, here: bool) -> None:
    """See that what the recipe reads, and what it pushes to, can be had elsewhere too; as `runner launch` does."""
    from runner.cli.output import say
    from runner.control.export import require_exports
    from runner.hub.check import check_hub_access, run_token
    from runner.recipe.recipe import Recipe

    token = run_token(environment, here=here)
    require_exports(before["recipe"].get("export", {}), token, here=here)
    recipe, run_id = Recipe.from_mapping(before["recipe"]), before["run_id"]
    check_hub_access(recipe, token, where=run_id, locate=lambda _: run_id, say=say)
