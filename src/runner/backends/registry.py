"""Find backends by name. A backend is imported when it is asked for, so that no command pays for the others."""

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from runner.backends.base import Backend, ResourceOptions
    from runner.backends.workers import WorkerBackend

BACKENDS = {
    "local": "runner.backends.local.backend:LocalBackend",
    "docker": "runner.backends.docker.backend:DockerBackend",
}
"""The name of an infra (what comes before a slash): module and class of its backend."""

SKYPILOT = "runner.backends.skypilot.backend:SkyPilotBackend"
"""The backend of every other infra: SkyPilot knows which ones there are."""

WORKERS = {
    "local": "runner.backends.local.workers:LocalWorkers",
    "docker": "runner.backends.docker.workers:DockerWorkers",
}
"""The same for a sweep's workers."""

SKYPILOT_WORKERS = "runner.backends.skypilot.workers:SkyPilotWorkers"
"""What runs a sweep's workers on every other infra."""

DEFAULT = "local"
"""The infra of a launch that asks for nothing."""

ANY = "*"
"""The infra of a launch that leaves the choice to SkyPilot."""


def backend_for(infra: str) -> "Backend":
    """Return the backend that runs what is launched to an infra.

    Args:
        infra: as ``run.json`` names it: ``local``, ``aws/us-east-1``, ``aws, gcp``, ``*``.
    """
    return cast("Backend", _made(BACKENDS.get(infra.partition("/")[0], SKYPILOT)))


def worker_backend_for(infra: str) -> "WorkerBackend":
    """Return what runs the workers of a sweep on an infra.

    Args:
        infra: as the sweep's definition names it, like ``run.json``.
    """
    return cast("WorkerBackend", _made(WORKERS.get(infra.partition("/")[0], SKYPILOT_WORKERS)))


def _made(place: str) -> object:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)()


def infra_for(options: "ResourceOptions", cluster: str | None) -> str:
    """Return an infra of the backend that a launch with these options means.

    Of several that are asked for, one with a backend of its own comes first: its `check` refuses what does not go
    together.
    """
    named = [infra for infra in options.infra if infra.partition("/")[0] in BACKENDS]
    if named:
        return named[0]
    if options.infra:
        return options.infra[0]
    return ANY if options.any or cluster is not None else DEFAULT
