"""Training through `runner launch` against `trl sft` with the same settings, model and data.

    python benchmarks/training.py                    # a few minutes on two cores
    python benchmarks/training.py --steps 200 --repeats 5 --json
    python benchmarks/training.py --model llama-3.2-1b --length 1024    # of its real size: on a machine with a GPU
    python benchmarks/training.py --steps 8 --batch 2 --length 32 --repeats 1    # half a minute: does it still run?

Measured from outside: the time from the command to the end of the first training step, and the tokens trained per
second after the first few steps. The model (a small Llama) and the data (documentation strings, joined to rows of
exactly `--length` tokens, so that each step is the same work in both) are made first, in a folder that both read. Runs
alternate; medians are compared. Both begin with empty caches of Hugging Face's libraries, as on a fresh machine,
unless `--keep-caches` is given, which lets `trl sft` find the data that an earlier run tokenized.

Set `OMP_NUM_THREADS` to compare speeds, for both: `trl sft` starts through accelerate's launcher, which gives it one
thread unless the variable says otherwise.
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
from collections.abc import Callable
from pathlib import Path

from runner.train.builtin.catalog import builtin_dataset, materialize
from runner.train.models.precision import precision

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.families import FAMILIES, write_model

BIN = Path(sys.executable).parent
Contender = Callable[[Path, Path, argparse.Namespace, dict[str, str]], list[float]]
WARM_UP_STEPS = 5
"""Steps after which throughput is taken: the first ones allocate memory and choose algorithms."""


def make_inputs(folder: Path, options: argparse.Namespace) -> None:
    """Write ``model/`` and ``data/train.jsonl``: rows that are longer than `--length`, so that all are cut to it."""
    if options.model:
        model = write_model(options.model, folder, small=False)
    else:
        model = materialize("builtin:tiny-llama", folder)
    model.rename(folder / "model")
    examples = builtin_dataset("builtin:python-docstrings", where="benchmark")
    text = " ".join(example["prompt"] + example["completion"] for example in examples)
    characters = 8 * options.length  # a token is about three characters of such text
    rows = [text[start : start + characters] for start in range(0, len(text) - characters, characters)]
    (folder / "data").mkdir()
    (folder / "data" / "train.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))


def settings(options: argparse.Namespace) -> dict[str, object]:
    """Return the settings of both, by TRL's names."""
    return {
        "max_steps": options.steps,
        "max_length": options.length,
        "per_device_train_batch_size": options.batch,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-3,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "report_to": "none",
        "seed": 42,
        **precision({}),
    }


def through_runner(inputs: Path, folder: Path, options: argparse.Namespace, environment: dict[str, str]) -> list[float]:
    """Launch a run; return the times at which its steps ended."""
    recipe = {
        "name": "benchmark",
        "method": "sft",
        "model": {"model_name_or_path": str(inputs / "model")},
        "data": {"train": [{"path": str(inputs / "data" / "train.jsonl")}]},
        "training": settings(options),
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    store = str(folder / "store")
    command = [str(BIN / "runner"), "launch", str(folder / "recipe.yaml"), "--store", store, "--json"]
    launched = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    run_id = json.loads(launched.stdout)["run_id"]
    listed = subprocess.run(
        [str(BIN / "runner"), "metrics", run_id, "--store", store, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return [record["time"] for record in json.loads(listed.stdout) if record["kind"] == "train"]


def through_trl(inputs: Path, folder: Path, options: argparse.Namespace, environment: dict[str, str]) -> list[float]:
    """Run `trl sft`; return the times at which its steps ended, that is, at which it printed their losses."""
    arguments = {
        **settings(options),
        "model_name_or_path": inputs / "model",
        "dataset_name": inputs / "data",
        "output_dir": folder / "output",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    command = [str(BIN / "trl"), "sft"]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        times = [time.time() for line in process.stdout if line.startswith("{'loss'")]
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return times


def measure(run: Contender, inputs: Path, options: argparse.Namespace, caches: Path | None) -> dict[str, float]:
    """Make one run; return the seconds to the first step's end, tokens per second after the first few, all seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(caches or folder / "huggingface"),
        }
        began = time.time()
        times = run(inputs, folder, options, environment)
        ended = time.time()
    if len(times) != options.steps:
        raise RuntimeError(f"{len(times)} steps were seen, not {options.steps}")
    tokens = (options.steps - WARM_UP_STEPS) * options.batch * options.length
    return {
        "first_step_seconds": times[0] - began,
        "tokens_per_second": tokens / (times[-1] - times[WARM_UP_STEPS - 1]),
        "whole_seconds": ended - began,
    }


def main() -> None:
    """Measure, and print a table, and with `--json` all figures in a last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help=f"more than {WARM_UP_STEPS}")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--model", choices=FAMILIES, help="with random weights; default: a small Llama")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep-caches", action="store_true", help="of Hugging Face's libraries, from run to run")
    parser.add_argument("--json", action="store_true", help="print all figures too, in a last line")
    options = parser.parse_args()
    if options.steps <= WARM_UP_STEPS + 1:
        parser.error(f"--steps must be more than {WARM_UP_STEPS + 1}")
    figures: dict[str, list[dict[str, float]]] = {"runner launch": [], "trl sft": []}
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name)
        make_inputs(inputs, options)
        caches = inputs / "huggingface" if options.keep_caches else None
        for _ in range(options.repeats):
            figures["runner launch"].append(measure(through_runner, inputs, options, caches))
            figures["trl sft"].append(measure(through_trl, inputs, options, caches))
    medians = {
        contender: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for contender, results in figures.items()
    }
    ratios = {name: value / medians["trl sft"][name] for name, value in medians["runner launch"].items()}
    print(f"{'':22}{'runner launch':>15}{'trl sft':>15}{'ratio':>8}")
    for name, ratio in ratios.items():
        ours, theirs = medians["runner launch"][name], medians["trl sft"][name]
        print(f"{name.replace('_', ' '):22}{ours:15,.1f}{theirs:15,.1f}{ratio:8.2f}")
    if options.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"machine": machine, "options": vars(options), **medians, "ratios": ratios, "all": figures}))


if __name__ == "__main__":
    main()
