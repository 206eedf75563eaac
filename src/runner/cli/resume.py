"""``runner resume``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import environment_options, json_option, run_argument, store_option

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background, and print its id.")
@environment_options
@json_option
@store_option
def resume(
    store: "Store", run: str, detach: bool, env_files: tuple[str, ...], secrets: tuple[str, ...], as_json: bool
) -> None:
    """Continue an interrupted run from its last checkpoint.

    It ends as if it had never been interrupted. On another machine with the same store it goes on there.

    \b
    Example:
      runner resume last
    """
    from runner.cli.follow import run_attached, run_detached
    from runner.cli.follow_remote import launch_remote
    from runner.launch.begin import take_hold
    from runner.launch.environment import chosen_environment
    from runner.launch.find import find_run
    from runner.launch.hand_over import again
    from runner.launch.launches import newest_launch
    from runner.launch.machines import is_remote
    from runner.launch.status import run_document
    from runner.launch.submit import needed_environment

    run_id = find_run(store, run)
    needed = needed_environment(store, run_id)
    if is_remote(run_document(store, run_id)["infra"]):
        launch = newest_launch(store, run_id)
        needed = launch.record["environment"] if launch else []
        environment = chosen_environment([Path(file) for file in env_files], secrets, needed=needed)
        document = again(store, run_id)
        cluster = launch.record["cluster"] if launch else None
        code = launch_remote(store, document, cluster=cluster, environment=environment, detach=detach, as_json=as_json)
        raise click.exceptions.Exit(code)
    environment = chosen_environment([Path(file) for file in env_files], secrets, needed=needed)
    lock = take_hold(store, run_id)
    follow = run_detached if detach else run_attached
    raise click.exceptions.Exit(follow(store, run_id, lock, environment=environment, as_json=as_json))
