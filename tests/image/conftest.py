"""The image, built once from the Dockerfile as users get it, and containers of it."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from support.containers.image import TAG, Built, Place, build_arguments, runner
from support.containers.image_machine import Machine, prepare
from support.runs import outcome


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """This machine with podman, its settings in the environment."""
    made = prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", made.environment["CONTAINERS_CONF"])
        for name in [name for name in os.environ if name.startswith("RUNNER_")]:
            patch.delenv(name)
        yield made


@pytest.fixture(scope="session")
def image(machine: Machine) -> Built:
    """The CPU image."""
    return Built(name=TAG, report=json.loads(runner(*build_arguments(machine)).stdout))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An empty store."""
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def calm(image: Built, place: Place) -> dict[str, Any]:
    """How the quickstart ends in a container that is left in peace."""
    place.submit("calm")
    assert place.run(image.name, "calm") == 0
    return outcome(place.store, "calm")
