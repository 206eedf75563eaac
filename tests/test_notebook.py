"""Secrets of notebooks, with modules in the place of Colab's and Kaggle's that behave as theirs are documented."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# https://github.com/googlecolab/colabtools/blob/main/google/colab/userdata.py
COLAB = """
class SecretNotFoundError(Exception): ...
class NotebookAccessError(Exception): ...

def get(key):
    if key == "KEPT":
        raise NotebookAccessError(key)
    if key != "HF_TOKEN":
        raise SecretNotFoundError(key)
    return "hf_of_colab"
"""
# https://www.kaggle.com/docs: Add-ons > Secrets
KAGGLE = """
class BackendError(Exception): ...

class UserSecretsClient:
    def get_secret(self, label):
        if label != "HF_TOKEN":
            raise BackendError("No user secrets exist for kernel id 1 and label " + label)
        return "hf_of_kaggle"
"""


@pytest.fixture(params=["colab", "kaggle"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The folder of a place's modules, for PYTHONPATH."""
    if request.param == "colab":
        (tmp_path / "google/colab").mkdir(parents=True)
        (tmp_path / "google/colab/userdata.py").write_text(COLAB)
    else:
        (tmp_path / "kaggle_secrets.py").write_text(KAGGLE)
    return str(tmp_path)


def python(program: str, place: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a kernel of its own, without the secrets of whoever runs the tests."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("HF_TOKEN", "KEPT", "WANDB_API_KEY")}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**inherited, "PYTHONPATH": place, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_secret_reaches_the_programs_that_a_cell_starts_and_is_not_shown(place: str) -> None:
    program = (
        "from runner.notebook import secrets; import subprocess, sys; secrets('HF_TOKEN', 'WANDB_API_KEY');"
        "print(subprocess.check_output([sys.executable, '-c', 'import os; print(len(os.environ[\"HF_TOKEN\"]))']))"
    )
    done = python(program, place, WANDB_API_KEY="set before")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("HF_TOKEN: set\nWANDB_API_KEY: set already\n")
    assert str(len(f"hf_of_{'colab' if (Path(place) / 'google').exists() else 'kaggle'}")) in done.stdout
    assert "hf_of" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["KEPT", "OTHER"])
def test_one_that_is_not_there_or_may_not_be_read_is_said_with_where_to_look(place: str, name: str) -> None:
    done = python(f"from runner.notebook import secrets; secrets({name!r})", place)
    assert done.returncode == 1
    assert f"there is no secret {name} that this notebook may read" in done.stderr
    assert "Add-ons > Secrets" in done.stderr


def test_a_launch_finds_a_secret_there_by_its_name(place: str) -> None:
    program = (
        "from runner.backends.environment import chosen_environment;"
        "found = chosen_environment([], ['HF_TOKEN']); print(found['HF_TOKEN'][:6], found['RUNNER_SECRET_NAMES'])"
    )
    assert python(program, place).stdout == "hf_of_ HF_TOKEN\n"
    assert python(program, place, HF_TOKEN="hf_set by hand").stdout == "hf_set HF_TOKEN\n"
    assert "HF_TOKEN is not set" in python(program, "").stderr
