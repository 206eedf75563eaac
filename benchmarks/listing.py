"""How long `runner ps` takes over 10,000 finished runs: the first time, and when this machine has cached them.

    python benchmarks/listing.py [--count 10000] [--rounds 10]
    python benchmarks/listing.py --count 50 --rounds 3    # seconds: does it still run?
    python benchmarks/listing.py --store s3://BUCKET/FOLDER    # an empty one; the environment says how to reach it

The runs are written into a folder store in a temporary folder, or into the store that is named, as `runner launch` and
an attempt leave them: a `run.json` with all settings, one attempt, a `result.json`. Times are those of the whole
process, start-up included. In the same rounds: `runner --help`, which only starts, and what one would use without
`runner ps`: a program of three lines that reads each run's `result.json`; for a bucket, one that only lists it with
boto3. There, "first" is a machine that lists what nobody has listed, and "cold" one that lists it after that.
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
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.recipe.loading.load import load_recipe
from runner.runs.records import encoded
from runner.runs.submission.prepare import prepare
from runner.runs.submission.run_json import run_json
from runner.storage.open import open_store

RECIPE = """
name: listed
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data:
  train: [{path: "builtin:python-docstrings"}]
training: {max_steps: 60}
"""
BY_HAND = """
import json, pathlib, sys
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/result.json")):
    print(path.parent.name, json.loads(path.read_text())["state"])
"""
LISTED_WITH_BOTO3 = """
import boto3, sys
bucket, _, folder = sys.argv[1].removeprefix("s3://").partition("/")
pages = boto3.client("s3").get_paginator("list_objects_v2")
pages = pages.paginate(Bucket=bucket, Prefix=folder + "/runs/", Delimiter="/")
print(sum(len(page.get("CommonPrefixes", ())) for page in pages))
"""
COLD_ROUNDS = 3
"""A cold round reads every run; so many of them are enough."""
RESULT: dict[str, object] = {
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
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--store", help="an empty bucket's folder, instead of a folder of this machine")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, options.count)
        url = options.store or str(folder / "store")
        if options.store:
            upload(folder / "store", url)
        runner = str(Path(sys.executable).with_name("runner"))
        commands = {
            "ps, warm": [runner, "ps"],
            "ps --all, warm": [runner, "ps", "--all", "--json"],
            "runner --help": [runner, "--help"],
            "by hand": [sys.executable, "-c", BY_HAND, str(folder / "store/runs")],
        }
        seconds: dict[str, list[float]] = {"ps, cold": [], **{name: [] for name in commands}}
        if options.store:
            commands["by hand"] = [sys.executable, "-c", LISTED_WITH_BOTO3, url]
            seconds["ps, first"] = [measure([runner, "ps"], folder, url)]
        for round_number in range(options.rounds):
            if round_number < COLD_ROUNDS:
                shutil.rmtree(folder / "cache", ignore_errors=True)
                seconds["ps, cold"].append(measure([runner, "ps"], folder, url))
            for command_name, command in commands.items():
                seconds[command_name].append(measure(command, folder, url))
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{options.count} finished runs in {url}; medians of {options.rounds} (cold: {COLD_ROUNDS})")
    print(f"{'command':<16} {'median s':>9} {'of by hand':>11}")
    ratios = {name: value / medians["by hand"] for name, value in medians.items()}
    for name, value in medians.items():
        print(f"{name:<16} {value:>9.3f} {ratios[name]:>11.2f}")
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "count": options.count,
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "ratio_to_by_hand": {name: round(value, 3) for name, value in ratios.items()},
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


def upload(folder: Path, url: str) -> None:
    """Copy a folder store into another store."""
    store = open_store(url)
    files = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(16) as uploads:
        list(uploads.map(lambda path: store.put(str(path.relative_to(folder)), path.read_bytes()), files))


def measure(command: list[str], folder: Path, store: str) -> float:
    """Return the wall seconds from a command's start to its exit."""
    environment = {**os.environ, "RUNNER_STORE": store, "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
