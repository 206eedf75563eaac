"""Which of this machine's backends runs a run."""

from collections.abc import Mapping
from typing import Any

from runner.backends.base import Engine
from runner.errors import UserError


def engine_of(document: Mapping[str, Any], *, entrypoint: str | None = None) -> Engine:
    """The engine that a run was launched to.

    Args:
        document: its ``run.json``.
        entrypoint: the module that runs an attempt, for the local engine; None: the real one.

    Raises:
        UserError: it is not at hand on this machine.
    """
    if document["infra"] == "docker":
        from runner.backends.docker.backend import docker_engine  # here: a local launch does without

        return docker_engine(document)
    if document["infra"] == "local":
        from runner.backends.local.backend import LocalEngine  # here: it needs what is above

        return LocalEngine() if entrypoint is None else LocalEngine(entrypoint)
    raise UserError(
        f"the run was launched to {document['infra']}, which this version cannot use", where=document["run_id"]
    )
