"""Make `lcbench.npz`: learning curves that halving is compared on, from YAHPO Gym's surrogate of LCBench.

    git clone https://github.com/slds-lmu/yahpo_data
    pip install onnxruntime
    python benchmarks/sweeps/lcbench_table.py yahpo_data/lcbench

LCBench has small networks trained for 52 epochs on tabular data, 2,000 configurations of 7 parameters on 34 tasks
(Zimmer et al., arXiv 2006.13799). The surrogate (Pfisterer et al., arXiv 2109.03670) is a network that predicts their
curves; it has no noise. Here: 2,000 configurations drawn from its space, the same for all tasks, and the first 8 tasks
of its list, so that nothing is picked.

The file has for each task the validation cross entropy after each epoch (its logarithm in 16 bits between the task's
ends, which is exact to 1e-4), and seconds of GPU for each configuration: those of the whole training, since the
predicted seconds of single epochs are not even rising.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
TABLE = HERE / "lcbench.npz"
SOURCE = (
    "Predictions of lcbench/model.onnx of https://github.com/slds-lmu/yahpo_data at efdab907 (2025-02-01), "
    "copyright 2025 Florian Pfisterer, Lennart Schneider, Apache License 2.0. Made by lcbench_table.py."
)
CONFIGURATIONS, EPOCHS, TASKS, SEED = 2000, 52, 8, 2026
# The surrogate's inputs and outputs stand in this order (yahpo_gym/benchmarks/lcbench.py).
INPUTS = (
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "num_layers",
    "max_units",
    "max_dropout",
)
TIME, CROSS_ENTROPY = 0, 2


def configurations(space: dict[str, Any]) -> np.ndarray:
    """Draw configurations from the surrogate's space, a row for each."""
    random = np.random.default_rng(SEED)
    parameters = {parameter["name"]: parameter for parameter in space["hyperparameters"]}
    columns = []
    for name in INPUTS:
        parameter = parameters[name]
        low, high = float(parameter["lower"]), float(parameter["upper"])
        quantiles = random.random(CONFIGURATIONS)
        if parameter["type"] == "uniform_int":
            low, high = low - 0.5, high + 0.5
        if parameter["log"]:
            values = np.exp(np.log(low) + quantiles * (np.log(high) - np.log(low)))
        else:
            values = low + quantiles * (high - low)
        columns.append(np.rint(values) if parameter["type"] == "uniform_int" else values)
    return np.stack(columns, axis=1)


def quantized(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return logarithms in 16 bits, and the ends that they lie between."""
    logs = np.log(curves)
    ends = np.array([logs.min(), logs.max()])
    return np.rint((logs - ends[0]) / (ends[1] - ends[0]) * 65535).astype(np.uint16), ends


def main() -> None:
    """Ask the surrogate, write the table and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="lcbench/ of yahpo_data")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()

    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(options.folder / "model.onnx", settings)
    space = json.loads((options.folder / "config_space.json").read_text())
    encoding = json.loads((options.folder / "encoding.json").read_text())["OpenML_task_id"]
    tasks = next(entry for entry in space["hyperparameters"] if entry["name"] == "OpenML_task_id")["choices"][:TASKS]

    drawn = configurations(space)
    epochs = np.tile(np.arange(1, EPOCHS + 1), len(drawn))[:, None]
    inputs = np.concatenate([epochs, np.repeat(drawn, EPOCHS, axis=0)], axis=1).astype(np.float32)
    curves, ends, seconds = [], [], []
    for task in tasks:
        categories = np.full((len(inputs), 1), encoding[task], np.int32)
        (output,) = session.run(None, {"x_cat": categories, "x_cont": inputs})
        output = output.reshape(len(drawn), EPOCHS, -1)
        codes, both = quantized(output[:, :, CROSS_ENTROPY])
        curves.append(codes)
        ends.append(both)
        seconds.append(np.maximum(output[:, -1, TIME], 1.0))
    np.savez_compressed(
        options.output,
        tasks=np.array(tasks),
        curves=np.stack(curves),
        ends=np.stack(ends),
        seconds=np.stack(seconds).astype(np.float32),
        source=np.array(SOURCE),
    )
    print(f"{options.output.name}: {options.output.stat().st_size / 1e6:.2f} MB, tasks {', '.join(tasks)}")


if __name__ == "__main__":
    main()
