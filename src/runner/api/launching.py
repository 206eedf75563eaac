"""The Python API for launches. Public as `runner.launch` and `runner.resume`."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.api.opening import confirm_or_refuse, opened_store, several, user_errors
from runner.api.runs import Run
from runner.backends.base import ResourceOptions
from runner.control.launch import LaunchOptions
from runner.control.launch import launch as launch_run
from runner.control.launching.cost import CostQuestion
from runner.control.resume import ResumeOptions
from runner.control.resume import resume as resume_run

_log = logging.getLogger("runner")


def launch(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    *,
    gpu: str | Sequence[str] | None = None,
    infra: str | Sequence[str] | None = None,
    nodes: int | None = None,
    spot: bool | None = None,
    store: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    name: str | None = None,
    image: str | None = None,
    cluster: str | None = None,
    env_files: Sequence[str | os.PathLike[str]] = (),
    secrets: Sequence[str] = (),
    max_hourly_cost: float | None = None,
    max_cost: float | None = None,
    hourly_cost: float | None = None,
    confirm: Callable[[CostQuestion], bool] | None = None,
) -> Run:
    """Start a run of a recipe in the background, as ``runner launch --detach`` does.

    Args:
        recipe: the name of a recipe (``runner jobs`` lists them), the path of a YAML file, a `Recipe`, or a mapping.
        gpu: the GPU and how many a machine has, such as ``"A100:8"``; several: any of them.
        infra: where: ``"local"`` or ``"docker"`` on this machine, or through SkyPilot ``"aws"``, ``"gcp/us-central1"``,
            ``"slurm/CLUSTER"``, …; several: any of them. None for this machine or, with `gpu`, for SkyPilot's choice.
        nodes: how many machines.
        spot: True for spot machines, False for others; None for what the recipe says.
        store: where the run lives, a folder or URL; None for ``RUNNER_STORE``, or else runner's own folder.
        overrides: settings of the recipe to change: values by dotted name, or ``"KEY=VALUE"`` strings.
        name: the run's id. An unfinished run of that name with the same settings continues instead.
        image: the image, by name or digest.
        cluster: the SkyPilot cluster to run on, instead of machines of the run's own.
        env_files: files of ``NAME=value`` lines that the run is given.
        secrets: names of environment variables that the run is given.
        max_hourly_cost: the most that one hour of a machine may cost, in US dollars.
        max_cost: the most that all attempts together may cost, in US dollars: then the run saves and is interrupted.
        hourly_cost: what an hour of a machine costs, where no catalog knows it; None for ``RUNNER_HOURLY_COST``.
        confirm: called with a question (`text`, `cost`, `limit`) if the run may cost more than ``RUNNER_ASK_ABOVE``;
            the run is launched if it returns True.

    Returns:
        The run; its first attempt has begun, or SkyPilot has it.

    Raises:
        UserError: the recipe, the machine, the hub or the store is not as it has to be; or the run may cost more than
            the limit, and `confirm` is None or returned False.

    Example:
        >>> run = runner.launch("quickstart", overrides={"training.max_steps": 20})
        >>> run.wait().state
        'succeeded'
    """
    strings, values = _split_overrides(overrides)
    opened = opened_store(store)
    options = LaunchOptions(
        recipe=recipe if isinstance(recipe, Mapping) else os.fspath(recipe),
        overrides=strings,
        values=values,
        name=name,
        resources=ResourceOptions(
            gpus=several(gpu), infra=several(infra), nodes=nodes, use_spot=spot, max_hourly_cost=max_hourly_cost
        ),
        cluster=cluster,
        image=image,
        env_files=[Path(file) for file in env_files],
        secrets=several(secrets),
        max_cost=max_cost,
        hourly_cost=hourly_cost,
        detach=True,
    )
    with user_errors(opened):
        launched = launch_run(opened, options, confirm=confirm_or_refuse(confirm), say=_log.info)
    return Run._known(opened, launched.run_id)


def resume(
    run: Run | str,
    *,
    gpu: str | Sequence[str] | None = None,
    infra: str | Sequence[str] | None = None,
    nodes: int | None = None,
    spot: bool | None = None,
    store: str | os.PathLike[str] | None = None,
    image: str | None = None,
    cluster: str | None = None,
    env_files: Sequence[str | os.PathLike[str]] = (),
    secrets: Sequence[str] = (),
    replace: Sequence[str | os.PathLike[str]] = (),
    max_hourly_cost: float | None = None,
    max_cost: float | None = None,
    hourly_cost: float | None = None,
    confirm: Callable[[CostQuestion], bool] | None = None,
) -> Run:
    """Continue a run from its last checkpoint in the background, as ``runner resume --detach`` does.

    The run was interrupted, or it has failed and its cause is mended.
    Without options it continues where it was; with them, elsewhere. They are those of `launch`.

    Args:
        run: the run, or its id.
        gpu, infra, nodes, spot, image, cluster, max_hourly_cost: the machines, as in `launch`.
        store: where the run lives, if `run` is an id.
        env_files: files of variables that the run is given.
        secrets: names of variables that the run is given besides those of its launch.
        replace: mended reward files, each in place of the one of that name in the recipe.
        max_cost, hourly_cost: as in `launch`; None for what counted before.
        confirm: as in `launch`.

    Returns:
        The run.

    Raises:
        UserError: the run has succeeded or was cancelled, or may be running; a variable that it was launched with is
            not set, or it cannot run there.

    Example:
        >>> runner.resume("last", gpu="L4", spot=True).wait().state
        'succeeded'
    """
    if isinstance(run, str):
        run = Run(run, store)
    options = ResumeOptions(
        run_id=run.run_id,
        resources=ResourceOptions(
            gpus=several(gpu), infra=several(infra), nodes=nodes, use_spot=spot, max_hourly_cost=max_hourly_cost
        ),
        cluster=cluster,
        image=image,
        env_files=[Path(file) for file in env_files],
        secrets=several(secrets),
        max_cost=max_cost,
        hourly_cost=hourly_cost,
        replace=[Path(file) for file in replace],
        detach=True,
    )
    with user_errors(run._store):
        resume_run(run._store, options, confirm=confirm_or_refuse(confirm), say=_log.info)
    return run


def _split_overrides(overrides: Mapping[str, Any] | Sequence[str] | None) -> tuple[Sequence[str], Mapping[str, Any]]:
    if isinstance(overrides, Mapping):
        return (), overrides
    return several(overrides), {}
