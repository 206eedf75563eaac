"""Learning curves that the benchmarks of halving are run on, one `Table` for each task."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Table:
    """The curves of one task."""

    name: str
    steps: tuple[int, ...]
    """Where the loss is known, ascending; the last is the end of the training."""
    losses: np.ndarray
    """By configuration and step, lower is better."""
    seconds: np.ndarray
    """Of GPU (or processor) for the whole training, by configuration."""

    def best(self, share: float) -> set[int]:
        """Return the configurations whose loss at the end is in the best share of all."""
        count = max(1, round(share * len(self.losses)))
        return set(np.argsort(self.losses[:, -1], kind="stable")[:count].tolist())

    def loss(self, configuration: int, step: int) -> float:
        """Return the loss after a step."""
        return float(self.losses[configuration, self.steps.index(step)])


def lcbench() -> list[Table]:
    """Return the tasks of `lcbench.npz`: see lcbench_table.py."""
    with np.load(HERE / "lcbench.npz") as file:
        codes, ends, seconds, tasks = file["curves"], file["ends"], file["seconds"], file["tasks"]
    tables = []
    for index, task in enumerate(tasks):
        low, high = ends[index]
        losses = np.exp(low + codes[index].astype(np.float64) / 65535 * (high - low))
        tables.append(Table(f"LCBench {task}", tuple(range(1, losses.shape[1] + 1)), losses, seconds[index]))
    return tables


def quickstart(path: Path) -> list[Table]:
    """Return a table of our own, one task for each seed: see quickstart_table.py.

    A training takes as long as the shortest of those with as many rows in a step: the longer ones shared the machine.
    """
    rows: dict[tuple[str, str], dict[int, float]] = {}
    shapes: dict[tuple[str, str], tuple[str, str]] = {}
    shortest: dict[tuple[str, str], float] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["seed"], row["configuration"]
            rows.setdefault(key, {})[int(row["step"])] = float(row["eval_loss"])
            shape = shapes[key] = row["per_device_train_batch_size"], row["gradient_accumulation_steps"]
            shortest[shape] = min(float(row["seconds"]), shortest.get(shape, float("inf")))
    tables = []
    for seed in sorted({seed for seed, _ in rows}):
        keys = sorted((key for key in rows if key[0] == seed), key=lambda key: int(key[1]))
        steps = tuple(sorted(rows[keys[0]]))
        losses = np.array([[rows[key][step] for step in steps] for key in keys])
        seconds = np.array([shortest[shapes[key]] for key in keys])
        tables.append(Table(f"quickstart, seed {seed}", steps, losses, seconds))
    return tables
