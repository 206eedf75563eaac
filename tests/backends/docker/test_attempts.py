"""What a container is given of this machine: the folders that the recipe names as such, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from runner.backends.docker.attempts import _FILE_VARIABLES, ContainerRunner
from runner.backends.docker.container_cli import Containers
from runner.recipe.recipe import Data, DataSource, Recipe


def mounts(recipe: Recipe, tmp_path: Path) -> set[str]:
    """The paths of this machine that a container could read and not write."""
    runner = ContainerRunner(Containers(program="podman"), "image", recipe.to_mapping())
    command = runner.command(str(tmp_path / "store"), "run")
    options = [part.removeprefix("--volume=") for part in command if part.startswith("--volume=")]
    return {option.split(":")[0] for option in options if option.endswith(":ro")}


def recipe(tmp_path: Path, **more: Any) -> Recipe:
    return Recipe(
        **{
            "name": "r",
            "method": "sft",
            "model": {"model_name_or_path": "builtin:tiny-llama"},
            "data": Data(train=(DataSource(path="builtin:python-docstrings"),)),
            **more,
        }
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in _FILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def folder(tmp_path: Path, name: str) -> str:
    (tmp_path / name).mkdir()
    return str(tmp_path / name)


def test_folders_of_models_and_data_are_mounted_in_every_stage(tmp_path: Path) -> None:
    model, data, base = folder(tmp_path, "model"), folder(tmp_path, "data"), folder(tmp_path, "base")
    stage = recipe(tmp_path, stage="sft", data=Data(train=(DataSource(path=data),)))
    staged = recipe(tmp_path, model={"model_name_or_path": model}, stages=(stage,))
    assert mounts(staged, tmp_path) == {model, data}
    exported = recipe(tmp_path, export=staged.export.__class__(merge=True, base=base))
    assert mounts(exported, tmp_path) == {base}


def test_an_attempt_is_told_which_image_it_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that can mean no other, not by what the shell says of remote runs."""
    monkeypatch.setenv("RUNNER_IMAGE", "registry.example.com/other")
    runner = ContainerRunner(Containers(program="podman"), "sha256:01", recipe(tmp_path).to_mapping())
    said = [part for part in runner.command(str(tmp_path / "store"), "run") if part.startswith("--env=RUNNER_IMAGE")]
    assert said[-1:] == ["--env=RUNNER_IMAGE=sha256:01"]


def test_a_path_in_another_setting_is_not_mounted(tmp_path: Path) -> None:
    private = folder(tmp_path, "private")
    model = {"model_name_or_path": "builtin:tiny-llama", "model_revision": private, "attn_implementation": private}
    assert mounts(recipe(tmp_path, model=model, name=private), tmp_path) == set()


def test_of_variables_only_those_that_name_a_file_are_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, other = tmp_path / "key.json", folder(tmp_path, "other")
    key.write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.setenv("AWS_PROFILE", other)
    assert mounts(recipe(tmp_path), tmp_path) == {str(key)}
