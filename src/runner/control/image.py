"""Build the training image and push it to a registry."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.backends.docker import image as images
from runner.backends.docker.container_cli import Containers, find_containers
from runner.backends.docker.image import Accelerator, Image, Layer
from runner.backends.docker.sbom import read_packages, sbom
from runner.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """What image is to be built, from what, and with which program."""

    accelerator: Accelerator
    """Which lock in ``images/`` is installed."""
    target: str | None = None
    """A stage of the Dockerfile; None for its last."""
    tag: str | None = None
    """The image's name; None for ``runner:ACCELERATOR``, or ``runner:ACCELERATOR-TARGET``."""
    build_args: Sequence[str] = ()
    """``NAME=value`` for the Dockerfile's ARGs."""
    context: Path
    """A checkout of runner."""
    engine: str | None = None
    """``docker`` or ``podman``; None for the one that works."""
    more: Sequence[str] = ()
    """Options that the program is given as they are."""

    @property
    def name(self) -> str:
        """The image's name."""
        return self.tag or "-".join(filter(None, [f"runner:{self.accelerator}", self.target]))


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image that was built."""

    image: Image
    """What it is."""
    layers: Sequence[Layer]
    """Its layers, the lowest first."""


def image_command(options: ImageOptions) -> list[str]:
    """Build the command that `build_image` runs.

    Raises:
        UserError: docker and podman do not work, or there is nothing to build from.
    """
    return _command(find_containers(options.engine), options)


def build_image(options: ImageOptions, *, sbom_file: Path | None = None) -> BuiltImage:
    """Build the image; what the program prints goes to standard error.

    Args:
        options: what is to be built.
        sbom_file: receives what is installed in the image, as a CycloneDX document.

    Raises:
        UserError: docker and podman do not work, a step failed, or the document cannot be written.
    """
    containers = find_containers(options.engine)
    built = images.build(containers, _command(containers, options), tag=options.name)
    if sbom_file is not None:
        _write_sbom(sbom_file, containers, built)
    return BuiltImage(image=built, layers=images.layers(containers, options.name))


def push_image(name: str, *, engine: str | None, more: Sequence[str]) -> str:
    """Push an image to the registry that its name says.

    Returns:
        ``NAME@sha256:…``, which means this image for ever.

    Raises:
        UserError: docker and podman do not work, or the registry refuses.
    """
    return images.push(find_containers(engine), name, more)


def _command(containers: Containers, options: ImageOptions) -> list[str]:
    return images.build_command(
        containers,
        options.context.resolve(),
        accelerator=options.accelerator,
        tag=options.name,
        target=options.target,
        build_args=options.build_args,
        more=options.more,
    )


def _write_sbom(path: Path, containers: Containers, built: Image) -> None:
    document = sbom(built, read_packages(containers, built))
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(path), remedy="name another file") from error
