"""How long a trial of a sweep takes from "taken" to its first forward and backward pass: warm, and in a new process.

    python benchmarks/warm_trials.py [--rounds 5] [--rows 500]

Each round makes the same attempt at two steps of a new run of the quickstart's model both ways, one after the other, so
that a machine whose speed drifts treats both alike. The clock starts where a worker of a sweep has taken the trial and
calls `run_attempt`, and stops when the training process reports its first micro-batch. What the warm server itself
takes to start, once for each worker, is shown apart. Reading the rows is part of each trial either way, tokenizing them
of the first warm one only, as in a worker: it is in the first round and in `worst`. With `--rows 0` it is all 7,000 of
the quickstart. `--rounds 1` takes a minute.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.recipe.recipe import Checkpoint, Data, DataSource, Evaluate, Recipe
from runner.runs.layout import run_key
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.train import entrypoint
from runner.train.agent.head_attempt import HeadAttempt
from runner.train.agent.log import set_up_logging
from runner.train.agent.setup import Spawn
from runner.train.agent.warm.processes import WarmProcesses
from runner.train.builtin.catalog import builtin_dataset

RECIPE = Recipe(
    name="warm",
    method="sft",
    model={"model_name_or_path": "builtin:tiny-llama"},
    adapter={"r": 8, "target_modules": "all-linear"},
    data=Data(train=(DataSource(path="builtin:python-docstrings"),), eval_from_train=32),
    training={
        "max_steps": 30,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "max_length": 128,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "seed": 1,
    },
    checkpoint=Checkpoint(save_steps=None, save_minutes=None, save_total_limit=2),
    evaluate=Evaluate(before_and_after=False),
)


def main() -> None:
    """Measure, and print a table and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=500, help="of a file; 0: the quickstart's own data")
    options = parser.parse_args()
    set_up_logging(only_stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store")
        began = time.perf_counter()
        warm = WarmProcesses(
            entrypoint.start_worker, builtin=["builtin:python-docstrings"], kept_rows=Path(folder, "rows")
        )
        assert warm.wait_until_ready(), "the warm server has not started"
        server_seconds = time.perf_counter() - began
        kinds: dict[str, Spawn] = {"warm": warm, "new process": entrypoint.start_worker}
        recipe = RECIPE if not options.rows else replace(RECIPE, data=few_rows(Path(folder), options.rows))
        marks: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for number in range(options.rounds):
            for kind, spawn in kinds.items():
                run_id = f"{kind.split()[0]}-{number}"
                marks[kind].append(measure(store, recipe, run_id, Path(folder), spawn))
        warm.close()
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds")
    print(f"the warm server imports for {server_seconds:.1f} s, once")
    for kind, rounds in marks.items():
        median = {name: statistics.median(each[name] for each in rounds if name in each) for name in rounds[0]}
        worst = max(each["first batch"] for each in rounds)
        print(
            f"{kind:<12} " + ", ".join(f"{name} {value:.2f} s" for name, value in median.items()), f"worst {worst:.2f}"
        )
    print(json.dumps({"server_seconds": server_seconds, "rounds": marks}))


def few_rows(folder: Path, count: int) -> Data:
    """Write so many of the rows into a file; return the recipe's `data`."""
    path = folder / "rows.jsonl"
    rows = list(builtin_dataset("builtin:python-docstrings", where="data"))[:count]
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows))
    return Data(train=(DataSource(path=str(path), format="prompt_completion"),), eval_from_train=32)


def measure(store: Store, recipe: Recipe, run_id: str, folder: Path, spawn: Spawn) -> dict[str, float]:
    """Make an attempt that pauses early; return when what began, in seconds after the call."""
    record = {"version": 1, "run_id": run_id, "name": recipe.name, "recipe": recipe.to_mapping()}
    record |= {"infra": "local", "accelerators": None, "created_at": "2026-01-01T00:00:00+00:00"}
    assert store.create(run_key(run_id, "run.json"), json.dumps(record).encode())
    marks: dict[str, float] = {}
    began = time.perf_counter()
    real = HeadAttempt._note_progress

    def noted(self: HeadAttempt, progress: Mapping[str, Any]) -> None:
        phase = progress.get("phase")
        if phase is not None:
            marks.setdefault(str(progress.get("message") or phase), time.perf_counter() - began)
        elif "training" in marks:
            marks.setdefault("first batch", time.perf_counter() - began)
        real(self, progress)

    HeadAttempt._note_progress = noted  # type: ignore[method-assign]
    try:
        code = entrypoint.run_attempt(store, run_id, folder / "work" / run_id, spawn=spawn, until_step=2)
    finally:
        HeadAttempt._note_progress = real  # type: ignore[method-assign]
    assert code == 75, f"the attempt ended with {code}"
    return {**marks, "end": time.perf_counter() - began}


if __name__ == "__main__":
    main()
