"""Make a table of our own: every point of a grid of 108 on the quickstart's model, trained to its end, by seed.

    python benchmarks/sweeps/quickstart_table.py quickstart.csv              # hours on two idle cores; may be continued
    python benchmarks/sweeps/quickstart_table.py quickstart.csv --limit 3    # minutes: does it still run?

4 learning rates x 3 schedules x 3 micro-batches x 3 accumulations, each 120 steps with an evaluation every 10, and 2
seeds: real runs of the recipe `quickstart`, one after another. The file has a line for each evaluation; `seconds` is
the time of the whole training by the run's own records, evaluations included. `halving.py --table` runs on it, each
seed a task. Points are taken in an order of their own, so that a part of the table is a fair sample of it.
"""

import argparse
import csv
import itertools
import os
import random
import tempfile
from pathlib import Path
from typing import Any

STEPS, EVERY = 120, 10
GRID: dict[str, tuple[Any, ...]] = {
    "training.learning_rate": (1e-3, 3e-3, 1e-2, 3e-2),
    "training.lr_scheduler_type": ("linear", "cosine", "constant"),
    "training.per_device_train_batch_size": (1, 2, 4),
    "training.gradient_accumulation_steps": (2, 4, 8),
}
SEEDS = (42, 43)
FIELDS = ["seed", "configuration", *(name.removeprefix("training.") for name in GRID), "step", "eval_loss", "seconds"]
FIXED: dict[str, Any] = {
    "training.max_steps": STEPS,
    "training.warmup_steps": 0,  # `constant` takes none
    "training.eval_strategy": "steps",
    "training.eval_steps": EVERY,
    "checkpoint.save_steps": None,
    "evaluate.before_and_after": False,
    "evaluate.prompts": [],
}


def points() -> list[tuple[int, dict[str, Any]]]:
    """Return all points of the grid with their numbers, shuffled."""
    grid = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    numbered = list(enumerate(grid))
    random.Random(0).shuffle(numbered)
    return numbered


def train(point: dict[str, Any], seed: int, store: str) -> tuple[list[tuple[int, float]], float]:
    """Train one point; return the losses by step, and seconds.

    Raises:
        RuntimeError: it did not come to its end.
    """
    import runner

    # The recipe says how many rows a step has in all; how many of them at a time is the micro-batch.
    micro, accumulation = (point[name] for name in list(GRID)[-2:])
    rows = {"training.effective_batch_size": micro * accumulation}
    run = runner.launch("quickstart", overrides={**FIXED, **point, **rows, "training.seed": seed}, store=store)
    status = run.wait()
    if status.state != "succeeded":
        raise RuntimeError(f"{run.run_id}: {status.state}, {status.reason}")
    records = run.metrics()
    losses = [(record["step"], record["eval_loss"]) for record in records if "eval_loss" in record]
    times = [record["time"] for record in records if record["kind"] in ("train", "eval")]
    return losses, (times[-1] - times[0]) * STEPS / (STEPS - 1)  # the first record is the first step's end


def main() -> None:
    """Train what the file does not have yet, and add it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=int, help="train no more points than this")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()

    done: set[tuple[int, int]] = set()
    if options.file.exists():
        with options.file.open(newline="") as file:
            done = {(int(row["seed"]), int(row["configuration"])) for row in csv.DictReader(file)}
    else:
        options.file.write_text(",".join(FIELDS) + "\n")
    missing = [
        (seed, number, point) for number, point in points() for seed in options.seeds if (seed, number) not in done
    ]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for seed, number, point in missing[: options.limit]:
        with tempfile.TemporaryDirectory() as folder:
            losses, seconds = train(point, seed, folder)
        # In one go: a line that is there stands for all of its point.
        with options.file.open("a", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([seed, number, *point.values(), step, loss, round(seconds, 2)] for step, loss in losses)
        print(f"seed {seed}, {number}: {losses[-1][1]:.4f} at step {losses[-1][0]}, {seconds:.1f} s", flush=True)
    print(f"{len(done) + len(missing[: options.limit])} of {len(done) + len(missing)}")


if __name__ == "__main__":
    main()
