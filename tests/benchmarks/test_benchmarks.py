"""Every script under `benchmarks/` runs in its small form and prints its figures. How large they are is not looked at:
that depends on how busy the machine is.

`image.py` builds images for twenty minutes and `sky.py` needs a Slurm and SkyPilot, so of these two only the options
and the report are run here.
"""

import importlib.util
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.paths import ROOT

pytestmark = pytest.mark.thorough

BENCHMARKS = ROOT / "benchmarks"


def run(script: str, *arguments: str) -> str:
    """Run a script as a user does; return its standard output."""
    process = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def load(script: str) -> ModuleType:
    """Import a script without running it."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{script}", BENCHMARKS / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures_of(text: str) -> tuple[str, dict[str, Any]]:
    """Return what a script printed for people, and the figures that it printed as JSON in a last line."""
    *lines, last = text.splitlines()
    return "\n".join(lines), json.loads(last)


def check_figures(figures: Any) -> None:
    """Every number in a tree of figures is positive and finite, and there is one at least."""
    numbers = list(_numbers(figures))
    assert numbers
    assert all(math.isfinite(number) and number > 0 for number in numbers), figures


def table(text: str) -> dict[str, list[float]]:
    """Return the figures of each line that has any behind two or more blanks, by what stands before them."""
    rows = {}
    for line in text.splitlines():
        name, *cells = [cell for cell in line.split("  ") if cell.strip()]
        try:
            rows[name.strip()] = [float(cell.replace(",", "")) for cell in cells]
        except ValueError:
            continue
    return {name: cells for name, cells in rows.items() if cells}


@pytest.mark.parametrize("script", ["image.py", "sky.py"])
def test_what_is_not_run_here_takes_its_options(script: str) -> None:
    assert f"usage: {script}" in run(script, "--help")


def test_system_sampling() -> None:
    text = run("system_sampling.py", "--samples", "5", "--pairs", "1", "--seconds", "0.5")
    assert "of one core" in text
    assert "with ten times the sampling / without" in text


def test_report() -> None:
    small = ("--trials", "30", "--steps", "20", "--rounds", "1", "--no-browser")
    text, figures = figures_of(run("report.py", *small))
    assert "report: median" in text
    assert figures["trials"] == 30
    check_figures([figures["seconds"], figures["megabytes"]])


def test_stall() -> None:
    small = ("--model", "tiny", "--steps", "4", "--save-steps", "2", "--length", "32", "--repeats", "2")
    text, report = figures_of(run("stall.py", *small, "--json"))
    for kind in ("synchronous", "beside"):
        assert report[kind].keys() == {"blocked", "whole", "committed"}
        assert len(report["all"][kind]) == 2
        check_figures(report["all"][kind])
        for figures in report["all"][kind]:
            # Two checkpoints of one run cannot block training for longer than the run takes.
            assert 2 * figures["blocked"] < figures["whole"] <= figures["committed"]
    for name, ratio in report["ratios"].items():
        assert ratio == pytest.approx(report["beside"][name] / report["synchronous"][name])
    rows = table(text)
    assert list(rows) == ["synchronous", "beside", "ratio"]
    assert all(len(cells) == 3 for cells in rows.values())


def test_reading_gives_as_many_rows_either_way() -> None:
    text, report = figures_of(run("reading.py", "--gb", "0.001", "--rounds", "1", "--kinds", "conversations", "pairs"))
    assert "conversations" in text
    for kind in ("conversations", "pairs"):
        check_figures(report["medians"][kind])
        assert report["ratios"][kind]["rows"] == 1


def test_memory_estimates_what_must_hold() -> None:
    rows = json.loads(run("memory.py", "--models", "HuggingFaceTB/SmolLM2-135M-Instruct", "--json"))
    gib = {
        (row["adapter"], row["micro_batch"], row["length"], row["checkpointing"]): row["estimated_gib"] for row in rows
    }
    sizes = [(1, 512), (4, 1024), (2, 4096)]
    assert gib.keys() == {
        (adapter, *size, again) for adapter, size, again in itertools.product(("full", "lora"), sizes, (False, True))
    }
    check_figures(list(gib.values()))
    for adapter, size in itertools.product(("full", "lora"), sizes):
        assert gib[adapter, *size, True] < gib[adapter, *size, False]
    for size, again in itertools.product(sizes, (False, True)):
        assert gib["lora", *size, again] < gib["full", *size, again]
    for adapter, again in itertools.product(("full", "lora"), (False, True)):
        assert gib[adapter, 1, 512, again] < gib[adapter, 4, 1024, again] < gib[adapter, 2, 4096, again]
    check_figures([row["measured_gib"] for row in rows if row["measured_gib"] is not None] or [1])


def test_memory_prints_a_line_for_each_case() -> None:
    lines = run("memory.py", "--models", "HuggingFaceTB/SmolLM2-135M-Instruct").splitlines()
    assert "estimated GiB" in lines[0]
    assert "measured GiB" in lines[0]
    cases = [line for line in lines if line.startswith("SmolLM2-135M-Instruct ")]
    assert len(cases) == 12
    assert all(float(line.split()[-2]) > 0 for line in cases)


def test_training_takes_the_same_steps_in_both() -> None:
    small = ("--steps", "8", "--batch", "2", "--length", "32", "--repeats", "1", "--keep-caches")
    text, report = figures_of(run("training.py", *small, "--json"))
    assert list(table(text)) == ["first step seconds", "tokens per second", "whole seconds"]
    names = {"first_step_seconds", "tokens_per_second", "whole_seconds"}
    for contender in ("runner launch", "trl sft"):
        assert report[contender].keys() == names
        check_figures(report["all"][contender])
        assert report[contender]["first_step_seconds"] < report[contender]["whole_seconds"]
    assert report["ratios"].keys() == names
    for name in names:
        assert report["ratios"][name] == pytest.approx(report["runner launch"][name] / report["trl sft"][name])


@pytest.mark.parametrize("transport", ["HTTP", "TLS"])
def test_upload(transport: str) -> None:
    if transport == "TLS" and shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the server's certificate, is not installed")
    tls = ["--tls"] if transport == "TLS" else []
    text, report = figures_of(run("upload.py", "--gib", "0.02", "--rounds", "1", "--json", *tls))
    contenders = ["runner", "obstore", "boto3", "awscli"]
    assert list(report["medians"]) == list(report["ratios"]) == contenders
    check_figures(report["medians"])
    check_figures(report["ratios"])
    assert report["ratios"]["obstore"] == {"cpu_seconds": 1.0, "wall_seconds": 1.0}
    assert f"over {transport}" in text
    rows = table(text)
    assert list(rows) == contenders
    assert all(len(cells) == 4 for cells in rows.values())


def test_listing() -> None:
    text, figures = figures_of(run("listing.py", "--count", "20", "--rounds", "2"))
    commands = ["ps, cold", "ps, warm", "ps --all, warm", "runner --help", "by hand"]
    assert list(table(text)) == commands
    assert figures["count"] == 20
    assert list(figures["median_seconds"]) == list(figures["ratio_to_by_hand"]) == commands
    check_figures([figures["median_seconds"], figures["ratio_to_by_hand"]])
    assert figures["ratio_to_by_hand"]["by hand"] == 1


def test_comparing() -> None:
    figures = json.loads(run("comparing.py", "--count", "3", "--steps", "10", "--rounds", "1"))
    assert (figures["runs"], figures["steps"]) == (3, 10)
    assert figures["median_seconds"] > 0


def test_startup(tmp_path: Path) -> None:
    sky = tmp_path / "sky"
    sky.write_text("#!/bin/sh\necho usage\n")
    sky.chmod(0o755)
    text, figures = figures_of(run("startup.py", "--rounds", "2", "--sky", str(sky)))
    commands = ["python -c pass", "bare --help", "runner --help", "runner check", "sky --help"]
    assert list(table(text)) == commands
    assert list(figures["median_seconds"]) == list(figures["ratio_to_bare"]) == commands
    check_figures([figures["median_seconds"], figures["ratio_to_bare"]])
    assert figures["ratio_to_bare"]["bare --help"] == 1


def test_image_compares_two_sizes() -> None:
    image = load("image")
    assert image.comparison("unpacked", 6_000_000_000, 8_000_000_000) == "unpacked: 6.00 GB of 8.00 GB, 75%"


def test_sky_sets_each_command_beside_skypilot_s() -> None:
    sky = load("sky")
    raw = {
        "runner launch: to the first step": [60.0],
        "sky jobs launch: to the first step": [90.0],
        "runner ps": [0.2, 0.3, 0.4],
        "sky jobs queue": [9.0, 6.0, 3.0],
        "runner logs": [0.5],
        "sky jobs logs": [5.0],
        "runner render": [0.4],
    }
    assert sky.report(raw).splitlines()[2:] == [
        "| `runner launch: to the first step` | 60.00 s | `sky jobs launch: to the first step` | 90.00 s | 1.50 |",
        "| `runner ps` | 0.30 s | `sky jobs queue` | 6.00 s | 20.00 |",
        "| `runner logs` | 0.50 s | `sky jobs logs` | 5.00 s | 10.00 |",
        "| `runner render` | 0.40 s | | | |",
    ]


def _numbers(tree: Any) -> Any:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        for value in tree:
            yield from _numbers(value)
    else:
        yield tree
