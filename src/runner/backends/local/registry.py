"""Which of this machine's backends runs a run."""

from collections.abc import Mapping
from typing import Any

from runner.backends.base import Backend
from runner.errors import UserError


def backend_of(document: Mapping[str, Any], *, entrypoint: str | None = None) -> Backend:
    """The engine that a run was launched to.

    Args:
        document: its ``run.json``.
        entrypoint: the module that runs an attempt, for the local engine; None: the real one.

    Raises:
        UserError: it is not at hand on this machine.
    """
    if document["infra"] == "docker":
        from runner.backends.docker.backend import docker_backend  # here: a local launch does without

        return docker_backend(document)
    if document["infra"] == "local":
        from runner.backends.local.backend import LocalBackend  # here: it needs what is above

        return LocalBackend() if entrypoint is None else LocalBackend(entrypoint)
    raise UserError(
        f"the run was launched to {document['infra']}, which this version cannot use", where=document["run_id"]
    )
