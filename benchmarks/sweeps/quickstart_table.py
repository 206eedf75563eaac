"""Make a table of our own: every point of a grid of 108 on the quickstart's model, trained to its end, by seed.

    python benchmarks/sweeps/quickstart_table.py quickstart.csv              # about an hour on two idle cores
    python benchmarks/sweeps/quickstart_table.py quickstart.csv --limit 3    # a minute: does it still run?

4 learning rates x 3 schedules x 3 micro-batches x 3 accumulations, each 120 steps with an evaluation every 10, and 2
seeds: a sweep over the grid of the recipe `quickstart`, two trials at a time. With `--sweep` it goes on with one that
was stopped. The file has a line for each evaluation; `seconds` is the time of the whole training by the run's own
records, evaluations included. `halving.py --table` runs on it, each seed a task.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import yaml

STEPS, EVERY = 120, 10
GRID: dict[str, list[Any]] = {
    "training.learning_rate": [1e-3, 3e-3, 1e-2, 3e-2],
    "training.lr_scheduler_type": ["linear", "cosine", "constant"],
    "training.per_device_train_batch_size": [1, 2, 4],
    "training.gradient_accumulation_steps": [2, 4, 8],
}
SEEDS = [42, 43]
FIELDS = ["seed", "configuration", *(name.removeprefix("training.") for name in GRID), "step", "eval_loss", "seconds"]
SWEEP: dict[str, Any] = {
    "program": "quickstart",
    "name": "quickstart-table",
    "method": "grid",
    "metric": {"name": "eval/loss"},
    "parameters": {name: {"values": values} for name, values in {**GRID, "training.seed": SEEDS}.items()},
    "runner": {
        "parallel": 2,
        "set": {
            "training.max_steps": STEPS,
            "training.warmup_steps": 0,  # `constant` takes none
            "training.eval_strategy": "steps",
            "training.eval_steps": EVERY,
            "checkpoint.save_steps": None,
            "evaluate.before_and_after": False,
            "evaluate.prompts": [],
        },
    },
}


def rows_of(run: Any, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of one trial: an evaluation each."""
    records = run.metrics()
    times = [record["time"] for record in records]
    seconds = (times[-1] - times[0]) * STEPS / (STEPS - 1)  # the first record is the first step's end
    numbers = {name: options.index(values[name]) for name, options in GRID.items()}
    configuration = 0
    for name, options in GRID.items():
        configuration = configuration * len(options) + numbers[name]
    fixed = {name.removeprefix("training."): values[name] for name in GRID}
    return [
        {
            "seed": values["training.seed"],
            "configuration": configuration,
            **fixed,
            "step": record["step"],
            "eval_loss": f"{record['eval_loss']:.5f}",
            "seconds": f"{seconds:.2f}",
        }
        for record in records
        if record.get("eval_loss") is not None
    ]


def main() -> None:
    """Train the grid, and write the table."""
    import runner

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=int, help="train no more points than this")
    parser.add_argument("--store", help="where the sweep lives; default: runner's own store")
    parser.add_argument("--sweep", help="go on with this sweep")
    options = parser.parse_args()

    if options.sweep:
        sweep = runner.Sweep(options.sweep, options.store)
        if sweep.status().condition != "succeeded":
            sweep.resume()
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "quickstart-table.yaml"
            file.write_text(yaml.safe_dump(SWEEP))
            sweep = runner.sweep(file, run_cap=options.limit, store=options.store)
    print(sweep.sweep_id, flush=True)
    overview = sweep.wait()
    runs = sweep.runs()
    lines = [
        line
        for row in overview.trials
        if row.trial.state == "finished"
        for line in rows_of(runs[row.trial.number], dict(row.trial.values))
    ]
    with options.file.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(sorted(lines, key=lambda line: (line["seed"], line["configuration"], line["step"])))
    print(f"{len(lines)} lines; {overview.condition}: {overview.reason}")


if __name__ == "__main__":
    main()
