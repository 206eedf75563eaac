"""A sweep's workers in a container: what it is given of this machine, and what runs in it."""

from pathlib import Path

import pytest

from runner.backends.base import Placement
from runner.backends.docker.container_cli import Containers
from runner.backends.docker.workers import DockerWorkers, workers_command
from runner.backends.registry import worker_backend_for
from runner.backends.workers import SweepWorkers
from runner.paths import sweep_folder
from runner.recipe.recipe import Data, DataSource, Recipe


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("rows", "drawn"):
        (tmp_path / name).mkdir()
    recipe = Recipe(
        name="r",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama"},
        data=Data(train=(DataSource(path=str(tmp_path / "rows")),)),
    )
    placement = Placement(infra="docker", image="runner:cpu")
    workers = SweepWorkers(
        sweep_id="search", placement=placement, recipe=recipe.to_mapping(), paths=[str(tmp_path / "drawn")]
    )
    environment = {"HF_TOKEN": "hush", "RUNNER_SECRET_NAMES": "OTHER", "OTHER": "hush", "UNRELATED": "hush"}
    return workers_command(
        Containers(program="podman"),
        "sha256:01",
        str(tmp_path / "store"),
        workers,
        ["--sweep", "search"],
        environment=environment,
        how=["--name=it"],
    )


def test_the_container_starts_the_workers_of_a_machine(command: list[str]) -> None:
    at = command.index("sha256:01")
    assert command[at - 1] == "--entrypoint=/usr/bin/tini"
    assert command[at + 1 :] == [
        *("--", "/opt/venv/bin/python", "-P", "-m", "runner.backends.local.slots", "--sweep", "search"),
    ]


def test_it_is_given_the_sweeps_folder_and_those_that_the_recipe_and_the_values_name(
    command: list[str], tmp_path: Path
) -> None:
    volumes = [part.removeprefix("--volume=") for part in command if part.startswith("--volume=")]
    sweep = str(sweep_folder(str(tmp_path / "store"), "search"))
    assert f"{sweep}:{sweep}" in volumes
    assert f"{tmp_path / 'store'}:{tmp_path / 'store'}" in volumes
    for folder in (tmp_path / "rows", tmp_path / "drawn"):
        assert f"{folder}:{folder}:ro" in volumes


def test_it_is_given_variables_by_name(command: list[str]) -> None:
    names = {part.removeprefix("--env=") for part in command if part.startswith("--env=")}
    assert {"HF_TOKEN", "OTHER", "RUNNER_SECRET_NAMES"} <= names
    assert "UNRELATED" not in names
    assert "RUNNER_IMAGE=sha256:01" in names, "for the record of the machine"
    assert not any("hush" in part for part in command)


def test_it_is_found_by_its_name() -> None:
    assert isinstance(worker_backend_for("docker"), DockerWorkers)
