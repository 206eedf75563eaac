"""Pushed, an image has a digest that means it for ever; what a registry refuses is one message with the remedy."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.backends.docker.container_cli import Containers
from runner.backends.docker.image import obtain
from runner.errors import UserError
from support.containers.image import podman, runner
from support.containers.image_machine import BASE, Machine
from support.containers.image_registry import Registry, registry

pytestmark = pytest.mark.image

PODMAN = Containers(program="podman")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> Iterator[Registry]:
    """A registry that nobody is logged in to, and podman told that it speaks no TLS."""
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder) as running, pytest.MonkeyPatch.context() as patch:
        (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{running.host}"\ninsecure = true\n')
        (folder / "auth.json").write_text("{}")
        patch.setenv("CONTAINERS_REGISTRIES_CONF", str(folder / "registries.conf"))
        patch.setenv("REGISTRY_AUTH_FILE", str(folder / "auth.json"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))  # a push is remembered for later launches
        yield running


@pytest.fixture(scope="module")
def small(place: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of a few bytes, named for the registry."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    name = f"{place.host}/team/runner:small"
    podman("build", "--tag", name, str(folder))
    return name


def refused(*arguments: str) -> str:
    """What a command says that exits with 2."""
    said = runner("image", *arguments, code=2, stderr=subprocess.PIPE).stderr
    assert "Traceback" not in said
    return said


def test_without_a_login_nothing_is_pushed_or_pulled_and_the_login_is_named(place: Registry, small: str) -> None:
    said = refused("push", small, "--engine", "podman")
    assert f"log in first: podman login {place.host}" in said
    with pytest.raises(UserError, match="log in first"):
        obtain(PODMAN, f"{place.host}/team/runner:other")


def test_a_pushed_image_comes_back_by_its_digest_and_by_no_other(place: Registry, small: str, tmp_path: Path) -> None:
    podman("login", "--username", place.user, "--password", place.password, place.host)
    pinned = json.loads(runner("image", "push", small, "--engine", "podman", "--json").stdout)["image"]
    assert re.fullmatch(rf"{place.host}/team/runner@sha256:[0-9a-f]{{64}}", pinned)
    before = podman("image", "inspect", "--format", "{{.Id}}", small).stdout
    podman("rmi", small)
    assert obtain(PODMAN, pinned).pinned == pinned
    assert podman("image", "inspect", "--format", "{{.Id}}", pinned).stdout == before
    with pytest.raises(UserError, match="the registry has no such image"):
        obtain(PODMAN, f"{place.host}/team/runner@sha256:{'0' * 64}")


def test_an_image_that_is_not_here_cannot_be_pushed(place: Registry) -> None:
    assert "`runner image build` makes one" in refused("push", f"{place.host}/nothing:1", "--engine", "podman")


def test_a_registry_that_does_not_answer_is_named(machine: Machine) -> None:
    podman("tag", BASE, "127.0.0.1:1/team/base:1")
    try:
        assert "127.0.0.1:1/team/base:1: the registry could not be used" in refused(
            "push", "127.0.0.1:1/team/base:1", "--engine", "podman"
        )
    finally:
        podman("rmi", "127.0.0.1:1/team/base:1")
