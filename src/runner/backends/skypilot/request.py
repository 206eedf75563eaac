"""Put together what a launch to SkyPilot needs: the machines, the run's record, the task, and what goes beside it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from runner.backends.base import Placement, ResolvedResources, ResourceOptions, check_image
from runner.backends.skypilot.bootstrap import setup_folder, shown
from runner.backends.skypilot.endpoints import refuse_loopback
from runner.backends.skypilot.resources import resolve_resources, with_image
from runner.backends.skypilot.store_access import StoreAccess, access
from runner.backends.skypilot.task import TaskContext, task, workers_task
from runner.backends.workers import SweepWorkers
from runner.errors import UserError
from runner.planning.feasibility import fits_on
from runner.recipe.recipe import Recipe
from runner.remembered import remembered
from runner.runs.layout import IMAGE_VARIABLE

NO_IMAGE = "none"
"""Stands for no image: the machine is set up from the pinned lock."""


def plan(recipe: Recipe, resource_options: ResourceOptions, image: str | None) -> Placement:
    """Find out where a new run is to run.

    Args:
        recipe: what is to run.
        resource_options: the machines that are asked for.
        image: as it was asked for: a reference, ``none``, or None for what `IMAGE_VARIABLE` or `runner config` says.

    Raises:
        UserError: no machine would do, or what is asked for contradicts the recipe.
    """
    named = image or os.environ.get(IMAGE_VARIABLE) or _remembered_image(recipe, resource_options) or NO_IMAGE
    reference = None if named == NO_IMAGE else named.removeprefix("docker:")
    if reference is not None:
        check_image(reference)
    if reference is not None and reference.startswith("sha256:"):
        remedy = "push it: `runner image push REGISTRY/NAME:TAG` prints the name to give here"
        raise UserError("an image of this machine alone is of no use elsewhere", where="--image", remedy=remedy)
    if reference is not None and "image_id" in recipe.resources:
        raise UserError("the recipe names an image too: `resources.image_id`", where="--image", remedy="keep one")
    machines = resolve_resources(recipe.resources, resource_options, fits=fits_on(recipe, resource_options.nodes or 1))
    return Placement(infra=machines.infra, image=reference, machines=with_image(machines, reference))


def _remembered_image(recipe: Recipe, resource_options: ResourceOptions) -> str | None:
    """The image that was settled once for all; the recipe's own counts more.

    Not for a Slurm cluster: few have Pyxis, without which SkyPilot refuses an image there.
    """
    asked = resource_options.infra or (str(recipe.resources.get("infra") or recipe.resources.get("cloud") or ""),)
    if any(infra.lower().startswith("slurm") for infra in asked):
        return None
    entries = [recipe.resources, *(recipe.resources.get("any_of") or ()), *(recipe.resources.get("ordered") or ())]
    if any("image_id" in entry for entry in entries):
        return None
    image = remembered("image")
    return None if image is None else str(image)


def plan_again(before: Mapping[str, Any], resource_options: ResourceOptions, image: str | None) -> Placement:
    """Find out where an interrupted run is to continue: what is not asked for now stays as it was.

    Args:
        before: its ``run.json``, with the machines of its newest launch.
        resource_options: the machines that are asked for.
        image: as in `plan`.

    Raises:
        UserError: no machine would do.
    """
    recipe = Recipe.from_mapping(before["recipe"])
    if before.get("resources"):
        resources = dict(before["resources"])
        if before["image"] is not None:
            image = image or before["image"]
            del resources["image_id"]
        recipe = dataclasses.replace(recipe, resources=resources)
        resource_options = dataclasses.replace(resource_options, nodes=resource_options.nodes or before["num_nodes"])
    return plan(recipe, resource_options, image)


def remote_task(
    document: Mapping[str, Any],
    store_url: str,
    *,
    secrets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> tuple[dict[str, Any], StoreAccess]:
    """Build a run's task, and what gives it access to the store.

    Args:
        document: the run's ``run.json``.
        store_url: where it lives.
        secrets: names of further variables that it is given apart from the task.
        environ: this process's environment.

    Raises:
        UserError: its machines would not reach the store, or the cache cannot be written.
    """
    entry = access(store_url, asked_for(document), environ)
    refuse_loopback((document["recipe"].get("sky") or {}).get("envs") or {}, where="sky.envs")
    setup_from = shown(setup_folder()) if "image_id" not in document["resources"] else None
    context = TaskContext(
        store_url=store_url,
        secrets=sorted({*entry.secrets, *secrets}),
        environment=entry.environment,
        setup_from=setup_from,
    )
    return task(document, context), entry


def remote_workers_task(
    workers: SweepWorkers,
    store_url: str,
    *,
    name: str,
    secrets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> tuple[dict[str, Any], StoreAccess]:
    """Build the task of a sweep's workers, and what gives it access to the store.

    Args:
        workers: what is asked for.
        store_url: where the sweep lives.
        name: of the jobs.
        secrets: names of further variables that they are given apart from the task.
        environ: this process's environment.

    Raises:
        UserError: the machines would not reach the store, the cache cannot be written, or a trial has several machines.
    """
    machines = workers.placement.machines
    assert machines is not None
    if machines.num_nodes > 1:
        remedy = "leave `--nodes` out: a trial of a sweep runs on one machine, and may have all of its GPUs"
        raise UserError("a worker of a sweep is one machine", where="--nodes", remedy=remedy)
    entry = access(store_url, machines, environ)
    refuse_loopback(workers.sky.get("envs") or {}, where="sky.envs")
    setup_from = shown(setup_folder()) if "image_id" not in machines.resources else None
    context = TaskContext(
        store_url=store_url,
        secrets=sorted({*entry.secrets, *secrets}),
        environment=entry.environment,
        setup_from=setup_from,
    )
    return workers_task(workers, name, context), entry


def asked_for(document: Mapping[str, Any]) -> ResolvedResources:
    """Return the machines that a run's record asks for."""
    return ResolvedResources(
        resources=document["resources"],
        num_nodes=document["num_nodes"],
        infra=document["infra"],
        accelerators=document["accelerators"],
        notes=(),
    )
