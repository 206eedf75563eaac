"""The wheel, installed elsewhere, brings the recipes along and does the same as the checkout."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.paths import ROOT


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it depends on is borrowed from ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    build = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    install = [sys.executable, "-m", "pip", "--quiet", "--python", folder / "venv/bin/python", "install"]
    subprocess.run([*install, "--no-deps", "--no-index", wheel], check=True)
    (site_packages,) = (folder / "venv/lib").glob("python*/site-packages")
    # A path that is added so does not have its own .pth files read: our editable install stays out.
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def runner(elsewhere: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(elsewhere), "RUNNER_STORE": str(elsewhere / "store")}
    command = [elsewhere / "venv/bin/runner", *arguments]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_the_wheels_code_that_runs(elsewhere: Path) -> None:
    ask = [elsewhere / "venv/bin/python", "-c", "import runner; print(runner.__file__)"]
    where = subprocess.run(ask, cwd=elsewhere, capture_output=True, text=True, check=True).stdout
    assert where.startswith(str(elsewhere))


def test_the_shipped_recipes_are_found_checked_and_run(elsewhere: Path) -> None:
    assert "quickstart" in runner(elsewhere, "jobs")
    assert [*elsewhere.glob("venv/lib/python*/site-packages/runner/jobs/sweeps/quickstart-halving.yaml")]
    runner(elsewhere, "check", "quickstart")
    runner(elsewhere, "launch", "quickstart", "--name", "short", "--set", "training.max_steps=2")
    runner(elsewhere, "pull", "short")
    assert (elsewhere / "short/artifacts/model/model.safetensors").exists()
