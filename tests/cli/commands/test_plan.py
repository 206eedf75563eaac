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
    done = runner(home, "smollm2-135m-lora", "--on-demand", "--all")
    assert done.returncode == 0
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["GPU", "INFRA", "BATCH", "PRECISION", "MEMORY", "TIME", "$/H", "COST"]
    assert len(lines) > 15
    assert "Prices: a snapshot of 2025-12" in done.stderr
    assert "T4 has no bfloat16" in done.stderr


def test_the_cheapest_five_and_the_quickest_five_are_shown(home: dict[str, str]) -> None:
    few, every = (runner(home, "smollm2-135m-lora", "--on-demand", *more) for more in ((), ("--all",)))
    ways = [line.split()[0] for line in few.stdout.splitlines()[1:]]
    assert 5 <= len(ways) <= 10
    assert len(set(ways)) == len(ways)
    assert ways[0] == every.stdout.splitlines()[1].split()[0]
    assert "more ways with --all" in few.stderr


def test_what_the_memory_is_for_is_explained_with_the_change_that_makes_it_fit(home: dict[str, str]) -> None:
    large = ("smollm2-135m-lora", "--set", "model.model_name_or_path=Qwen/Qwen3-8B", "--gpu", "t4")
    said = runner(home, *large, "--explain").stdout
    assert "weights        15.26" in said
    assert "total " in said
    assert "To make it fit: `model.load_in_4bit: true`" in said
    [row] = json.loads(runner(home, *large, "--json").stdout)
    assert row["change"] == "`model.load_in_4bit: true`"
    assert abs(sum(row["memory"].values()) - row["memory_gib"]) < 0.02
    fitting, *_ = json.loads(runner(home, *large, "--set", "model.load_in_4bit=true", "--json").stdout)
    assert (fitting["fits"], fitting["change"]) == (True, None)


def test_a_model_folder_with_its_config_alone_can_be_planned(home: dict[str, str]) -> None:
    folder = Path(home["HOME"]) / "model"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "vocab_size": 1000,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    (folder / "config.json").write_text(json.dumps(config))
    done = runner(home, "smollm2-135m-lora", "--set", "model.model_name_or_path=./model", "--gpu", "t4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["fits"]


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
