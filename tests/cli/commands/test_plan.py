"""`runner plan`, as it is called from a shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = [sys.executable, "-c", "from runner.cli.main import main; main()"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose home is empty, and offline."""
    return {**os.environ, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def runner(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Call it, in an empty folder."""
    return subprocess.run(
        [*RUNNER, "plan", *arguments],
        cwd=environment["HOME"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_shipped_recipe_is_planned_offline_with_an_empty_home(home: dict[str, str]) -> None:
    done = runner(home, "smollm2-135m-lora", "--on-demand")
    assert done.returncode == 0
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["GPU", "INFRA", "BATCH", "PRECISION", "MEMORY", "TIME", "$/H", "COST"]
    assert len(lines) > 15
    assert "Prices: a snapshot of 2025-12" in done.stderr
    assert "T4 has no bfloat16" in done.stderr


def test_programs_get_a_list_of_objects(home: dict[str, str]) -> None:
    done = runner(home, "quickstart", "--gpu", "A100:2", "--gpu", "t4", "--spot", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert {row["accelerators"] for row in rows} == {"A100:2", "T4:1"}
    assert all(row["fits"] for row in rows)


def test_what_fits_nowhere_says_why_for_each(home: dict[str, str]) -> None:
    large = "model.model_name_or_path=Qwen/Qwen3-8B"
    done = runner(home, "smollm2-135m-full", "--set", large, "--gpu", "t4", "--gpu", "l4")
    assert done.returncode == 0
    assert done.stdout.startswith("Fits on none of these:\n  T4:1: needs ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickstart", "--gpu", "a1000"], "--gpu: 'a1000' is not a GPU that runner knows\n  did you mean `A100`?"),
        (["quickstart", "--gpu", "a100:none"], "'none' is not a number of GPUs"),
        (["quickstrat"], "there is no such recipe"),
        (["quickstart", "--set", "model.model_name_or_path=someone/model"], "cannot be fetched: HF_HUB_OFFLINE is set"),
    ],
)
def test_a_mistake_is_one_message(home: dict[str, str], arguments: list[str], message: str) -> None:
    done = runner(home, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
