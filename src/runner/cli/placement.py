"""Options that say where something runs, with what and for how much: the same ones for all commands that start runs."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

F = TypeVar("F", bound=Callable[..., Any])


def start_options(command: F) -> F:
    """All options of a command that starts a run: the command gets `options`, a `StartOptions`, and `yes`."""

    @functools.wraps(command)
    def with_options(
        *arguments: Any,
        resource_options: Any,
        max_cost: float | None,
        hourly_cost: float | None,
        cluster: str | None,
        image: str | None,
        env_files: tuple[str, ...],
        secrets: tuple[str, ...],
        detach: bool,
        **others: Any,
    ) -> Any:
        from runner.control.launching.checks import StartOptions

        options = StartOptions(
            resources=resource_options,
            max_cost=max_cost,
            hourly_cost=hourly_cost,
            cluster=cluster,
            image=image,
            env_files=tuple(Path(file) for file in env_files),
            secrets=secrets,
            detach=detach,
        )
        return command(*arguments, options=options, **others)

    decorated = cast(F, with_options)
    decorated = environment_options(yes_option(detach_option(decorated)))
    return machine_options(budget_options(cluster_option(image_option(decorated))))


def detach_option(command: F) -> F:
    """``--detach``: the command gets `detach`."""
    return click.option("--detach", "-d", is_flag=True, help="Leave it running in the background, and print its id.")(
        command
    )


def machine_options(command: F) -> F:
    """``--gpu``, ``--infra``, ``--nodes``, ``--spot``, ``--max-hourly-cost``: the command gets `resource_options`."""

    @functools.wraps(command)
    def with_resource_options(
        *arguments: Any,
        gpus: tuple[str, ...],
        infra: tuple[str, ...],
        nodes: int | None,
        use_spot: bool | None,
        max_hourly_cost: float | None,
        **others: Any,
    ) -> Any:
        from runner.backends.base import ResourceOptions

        resource_options = ResourceOptions(
            gpus=gpus, infra=infra, nodes=nodes, use_spot=use_spot, max_hourly_cost=max_hourly_cost
        )
        return command(*arguments, resource_options=resource_options, **others)

    decorated = cast(F, with_resource_options)
    for option in (
        click.option(
            "--max-hourly-cost",
            metavar="DOLLARS",
            type=click.FloatRange(min=0, min_open=True),
            help="The most that one hour of a machine may cost.",
        ),
        click.option(
            "--spot/--on-demand", "use_spot", default=None, help="Take spot machines. Default: what the recipe says."
        ),
        click.option("--nodes", metavar="N", type=click.IntRange(min=1), help="How many machines."),
        click.option(
            "--infra",
            metavar="INFRA",
            multiple=True,
            help="Where: local or docker, on this machine; aws, gcp/REGION, k8s/CONTEXT, slurm/CLUSTER, … through "
            "SkyPilot. May be repeated: any of them. Default: local; with --gpu, whichever SkyPilot chooses.",
        ),
        click.option(
            "--gpu",
            "gpus",
            metavar="NAME[:COUNT]",
            multiple=True,
            help="The GPU and how many a machine has, such as A100:8. May be repeated: any of them.",
        ),
    ):
        decorated = option(decorated)
    return decorated


def cluster_option(command: F) -> F:
    """``--cluster NAME``: the command gets `cluster`."""
    return click.option(
        "--cluster",
        metavar="NAME",
        help="Run on this SkyPilot cluster (made if it is not there), not as a managed job.",
    )(command)


def yes_option(command: F) -> F:
    """``--yes``: the command gets `yes`."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask, whatever it may cost.")(command)


def budget_options(command: F) -> F:
    """``--max-cost`` and ``--hourly-cost``: the command gets `max_cost` and `hourly_cost`."""
    above_zero = click.FloatRange(min=0, min_open=True)
    command = click.option(
        "--hourly-cost",
        metavar="DOLLARS",
        type=above_zero,
        help="What an hour of a machine costs, where no catalog knows it. Default: what RUNNER_HOURLY_COST says.",
    )(command)
    return click.option(
        "--max-cost",
        metavar="DOLLARS",
        type=above_zero,
        help="The most that the run may cost, all attempts together: then it saves and is interrupted.",
    )(command)


def image_option(command: F) -> F:
    """``--image REF``: the command gets `image`."""
    return click.option(
        "--image",
        metavar="REF",
        help="The image, by name or digest; `none`: the machine is set up from the pinned lock. Default: what "
        "RUNNER_IMAGE says, else none; with --infra docker, runner:cuda or :cpu.",
    )(command)


def secret_option(command: F) -> F:
    """``--secret NAME``: the command gets `secrets`."""
    return click.option(
        "--secret",
        "secrets",
        metavar="NAME",
        multiple=True,
        help="A variable the run needs, by name; its value is taken from the environment and written nowhere.",
    )(command)


def environment_options(command: F) -> F:
    """``--env-file`` and ``--secret``: the command gets `env_files` and `secrets`."""
    command = secret_option(command)
    return click.option(
        "--env-file",
        "env_files",
        metavar="FILE",
        multiple=True,
        type=click.Path(dir_okay=False),
        help="Give the run the variables in this file (NAME=value lines).",
    )(command)
