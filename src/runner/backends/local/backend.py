"""The backend ``local``: attempts are processes of this machine."""

from collections.abc import Mapping
from typing import Any

from runner.backends.base import Placement, ResourceOptions
from runner.backends.local import attempts
from runner.backends.local.attempts import ProcessRunner
from runner.backends.local.supervised import SupervisedBackend
from runner.backends.local.training_side import require_training_side
from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.storage.store import Store

ENTRYPOINT = attempts.ENTRYPOINT
"""The module that runs an attempt of the runs that this process launches. Tests put a stand-in here."""


class LocalBackend(SupervisedBackend):
    """Attempts are processes of this machine, with this Python's packages."""

    name = "local"
    shares_environment = True

    def __init__(self) -> None:
        self.entrypoint = ENTRYPOINT

    def attempts(self, document: Mapping[str, Any], *, entrypoint: str) -> ProcessRunner:
        """Return what starts processes."""
        return ProcessRunner(entrypoint)

    def check(self, options: ResourceOptions, *, cluster: str | None, image: str | None) -> None:
        """Refuse options for other machines, and an image.

        Raises:
            UserError: one of them is given.
        """
        super().check(options, cluster=cluster, image=image)
        if image is not None:
            raise UserError("runs of --infra local are in no image", where="--image", remedy="add --infra docker")

    def resolve(
        self, recipe: Recipe, options: ResourceOptions, *, image: str | None, before: Mapping[str, Any] | None = None
    ) -> Placement:
        """Return this machine."""
        return Placement(infra=self.name)

    def require(self, store: Store, placement: Placement) -> None:
        """Refuse at once if this machine cannot train.

        Raises:
            UserError: a package of the training side is not installed.
        """
        require_training_side()
