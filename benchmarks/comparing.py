"""How long `runner compare` takes over 20 finished runs with 500 steps each, start-up included.

    python benchmarks/comparing.py [--count 20] [--steps 500] [--rounds 5]

The runs are written into a folder store in a temporary folder, as `runner launch` and an attempt leave them. Every
command is a process of its own; the first of them, which finds nothing cached, is not counted.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.recipe.loading.load import load_recipe
from runner.runs.attempts import claim_attempt, write_ended, write_restored
from runner.runs.chunks import ChunkWriter
from runner.runs.records import encoded
from runner.runs.submission.prepare import prepare
from runner.runs.submission.run_json import run_json
from runner.storage.local import LocalStore

RECIPE = """
name: compared
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data:
  train: [{path: "builtin:python-docstrings"}]
"""


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("count", 20), ("steps", 500), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(options.count):
            leave_run(folder, number, options.steps)
        store = str(folder / "store")
        command = [str(Path(sys.executable).with_name("runner")), "compare", "compared-*", "--store", store]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        seconds = []
        for _ in range(options.rounds + 1):
            began = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            seconds.append(time.perf_counter() - began)
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "runs": options.count,
        "steps": options.steps,
        "median_seconds": round(statistics.median(seconds[1:]), 3),
    }
    print(json.dumps(figures))


def leave_run(folder: Path, number: int, steps: int) -> None:
    """Write a finished run into the folder's store."""
    store = LocalStore(folder / "store")
    (folder / "recipe.yaml").write_text(
        f"{RECIPE}training: {{max_steps: {steps}, learning_rate: {1e-4 * (number + 1)}}}\n"
    )
    prepared = prepare(load_recipe("./recipe.yaml", cwd=folder))
    created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    run_id = f"compared-{created:%Y%m%d-%H%M%S}-{number:04d}"
    document = run_json(
        run_id=run_id,
        recipe=prepared.recipe,
        settings=prepared.settings,
        recipe_digest=prepared.digest,
        git_revision=None,
        created_at=created.isoformat(),
    )
    store.create(f"runs/{run_id}/run.json", encoded(document))
    claim = claim_attempt(store, run_id, {"started_at": created.isoformat()})
    write_restored(store, claim, None)
    chunks = ChunkWriter(store, run_id, "metrics", claim.token)
    for step in range(1, steps + 1):
        record = {"kind": "train", "stage": "sft", "step": step, "loss": 4 / step, "learning_rate": 1e-4, "time": step}
        chunks.append(json.dumps(record) + "\n")
        if step % 10 == 0:
            chunks.flush()
    chunks.flush()
    ended = (created + timedelta(hours=1)).isoformat()
    write_ended(store, claim, {"ended_at": ended, "outcome": "succeeded"})
    result = {"state": "succeeded", "attempts": 1, "step": steps, "max_steps": steps, "ended_at": ended}
    store.create(f"runs/{run_id}/result.json", encoded({**result, "after": {"eval_loss": 2.0 + number / 100}}))


if __name__ == "__main__":
    main()
