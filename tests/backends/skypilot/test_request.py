"""What is asked of SkyPilot where the command line leaves something open."""

from pathlib import Path

import pytest

from runner.backends.base import ResourceOptions
from runner.backends.skypilot.request import plan
from runner.recipe.recipe import Data, DataSource, Recipe

IMAGE = "registry.example/team/runner@sha256:" + 64 * "0"
RECIPE = Recipe(
    name="r",
    method="sft",
    model={"model_name_or_path": "builtin:tiny-llama"},
    data=Data(train=(DataSource(path="builtin:python-docstrings"),)),
    resources={"accelerators": "L4:1"},
)


@pytest.fixture(autouse=True)
def _remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "config.toml").write_text(f'image = "{IMAGE}"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("RUNNER_IMAGE", raising=False)


def test_a_remembered_image_is_what_a_cloud_is_asked_for() -> None:
    assert plan(RECIPE, ResourceOptions(infra=("aws",)), None).image == IMAGE
    assert plan(RECIPE, ResourceOptions(infra=("aws",)), "none").image is None


def test_a_slurm_cluster_is_asked_for_an_image_only_by_name() -> None:
    """Without Pyxis, SkyPilot refuses an image there."""
    assert plan(RECIPE, ResourceOptions(infra=("slurm/mine",)), None).image is None
    assert plan(RECIPE, ResourceOptions(infra=("slurm/mine",)), IMAGE).image == IMAGE
