"""How long `runner ps` takes over 10,000 finished runs: the first time, and when this machine knows them.

    python benchmarks/listing.py [--count 10000] [--runs 10]

The runs are written into a folder store in a temporary folder, as `runner launch` and an attempt leave them: a
`run.json` with all settings, one attempt, a `result.json`. Times are those of the whole process, start-up included.
Beside it, in the same rounds: the bare start of `runner --help`, and reading the same runs' names with `ls`.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.control.prepare import prepare
from runner.control.submit import run_json
from runner.recipe.loading.load import load_recipe
from runner.runs.records import encoded

RECIPE = """
name: listed
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data:
  train: [{path: "builtin:python-docstrings"}]
training: {max_steps: 60}
"""
RESULT = {
    "state": "succeeded",
    "reason": None,
    "ended_at": "2026-01-01T01:00:00+00:00",
    "attempts": 1,
    "step": 60,
    "max_steps": 60,
    "before": {"eval_loss": 4.0, "perplexity": 54.6, "samples_per_second": 10.0},
    "after": {"eval_loss": 2.0, "perplexity": 7.4, "samples_per_second": 10.0},
    "generations": [],
    "best": None,
    "artifacts": {"model": "artifacts/model/0001-abcd/"},
}


def main() -> None:
    """Measure, and print a table and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, options.count)
        seconds: dict[str, list[float]] = {"cold": [], "warm": [], "warm --all": [], "runner --help": [], "ls": []}
        runner = str(Path(sys.executable).with_name("runner"))
        for round_number in range(options.runs):
            if round_number < 3:
                shutil.rmtree(folder / "cache", ignore_errors=True)
                seconds["cold"].append(measured([runner, "ps"], folder))
            seconds["warm"].append(measured([runner, "ps"], folder))
            seconds["warm --all"].append(measured([runner, "ps", "--all", "--json"], folder))
            seconds["runner --help"].append(measured([runner, "--help"], folder))
            seconds["ls"].append(measured(["ls", str(folder / "store/runs")], folder))
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{options.count} finished runs, folder store; medians of {options.runs} (cold: 3)")
    for name, value in medians.items():
        print(f"{name:<16} {value:8.3f} s")
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "count": options.count,
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
    }
    print(json.dumps(figures))


def fill(folder: Path, count: int) -> None:
    """Write `count` finished runs into the folder's store."""
    (folder / "recipe.yaml").write_text(RECIPE)
    prepared = prepare(load_recipe("./recipe.yaml", cwd=folder))
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        created = began + timedelta(seconds=30 * number)
        run_id = f"listed-{created:%Y%m%d-%H%M%S}-{number % 10_000:04d}"
        run = folder / "store" / "runs" / run_id
        (run / "attempts").mkdir(parents=True)
        document = run_json(
            run_id=run_id,
            recipe=prepared.recipe,
            settings=prepared.settings,
            recipe_digest=prepared.digest,
            git_revision=None,
            created_at=created.isoformat(),
        )
        (run / "run.json").write_bytes(encoded(document))
        (run / "result.json").write_bytes(encoded(RESULT))
        (run / "attempts" / "0001.json").write_bytes(encoded({"token": "0001-abcd", "number": 1, "pid": 1}))


def measured(command: list[str], folder: Path) -> float:
    """Wall seconds of one start to exit."""
    environment = {**os.environ, "RUNNER_STORE": str(folder / "store"), "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
