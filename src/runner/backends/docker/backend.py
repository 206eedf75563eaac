"""The backend ``docker``: attempts are containers of the training image on this machine.

The supervisor is that of ``local``: only what an attempt is differs.
"""

from collections.abc import Mapping
from typing import Any

from runner.backends.base import Placement, ResourceOptions
from runner.backends.docker.attempts import ContainerRunner, container_runner, image_for, note_killed
from runner.backends.local.supervised import SupervisedBackend
from runner.recipe.recipe import Recipe
from runner.storage.store import Store


class DockerBackend(SupervisedBackend):
    """Attempts are containers of the training image, with docker or podman."""

    name = "docker"

    def attempts(self, document: Mapping[str, Any], *, entrypoint: str) -> ContainerRunner:
        """Return what starts containers of the run's image; the image says what runs in them.

        Raises:
            UserError: neither docker nor podman works, or the run's image does not exist.
        """
        return container_runner(document)

    def resolve(
        self, recipe: Recipe, options: ResourceOptions, *, image: str | None, before: Mapping[str, Any] | None = None
    ) -> Placement:
        """Find the image: the one that is asked for, that the run had before, or this machine's.

        Raises:
            UserError: neither docker nor podman works, or there is no such image.
        """
        name = image or (before["image"] if before else None)
        return Placement(infra=self.name, image=image_for(name).pinned)

    def require(self, store: Store, placement: Placement) -> None:
        """Do nothing: `resolve` has asked docker for the image."""

    def note_vanished(self, store: Store, run_id: str) -> None:
        """Record that a container which no longer exists was killed.

        Raises:
            UserError: neither docker nor podman works.
        """
        note_killed(store, run_id)
