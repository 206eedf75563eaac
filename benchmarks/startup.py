"""How long the command line takes to start: `runner --help` and `runner check` against a bare Click program.

    python benchmarks/startup.py [--rounds 30] [--sky PATH_OF_SKY]

Each round starts every command once, one after the other, so that a machine whose speed drifts treats all alike; a
ratio is the median of the rounds' own ratios. `bare` is the smallest Click group with one command, started through a
script like the one that pip makes. `sky --help` is measured if SkyPilot's `sky` is installed, or named. `--rounds 2`
takes seconds.
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
from pathlib import Path

BARE = """
import click

@click.group()
@click.version_option("1")
def cli():
    "A bare program."

@cli.command()
def hello():
    "Say hello."

def main():
    cli()
"""

SCRIPT = """
import sys
from bare import main
sys.exit(main())
"""

RECIPE = """
name: startup
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data:
  train: [{path: "builtin:python-docstrings"}]
training: {max_steps: 10, learning_rate: 1.0e-3}
"""


def main() -> None:
    """Measure, and print a table and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sky", default=shutil.which("sky"), help="SkyPilot's program")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bare.py").write_text(BARE)
        (folder / "script.py").write_text(SCRIPT)
        (folder / "recipe.yaml").write_text(RECIPE)
        runner = str(Path(sys.executable).with_name("runner"))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "bare --help": [sys.executable, str(folder / "script.py"), "--help"],
            "runner --help": [runner, "--help"],
            "runner check": [runner, "check", str(folder / "recipe.yaml")],
        }
        if options.sky:
            commands["sky --help"] = [options.sky, "--help"]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for round_number in range(-2, options.rounds):  # two rounds warm the caches
            for name, command in commands.items():
                if name == "sky --help" and round_number % 5:
                    continue
                taken = measure(command, folder)
                if round_number >= 0:
                    seconds[name].append(taken)
    report(seconds)


def measure(command: list[str], folder: Path) -> float:
    """Return the wall seconds from a command's start to its exit."""
    environment = {**os.environ, "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def report(seconds: dict[str, list[float]]) -> None:
    """Print the medians and the ratios to the bare program, as a table and as JSON."""
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(taken, seconds["bare --help"], strict=False))
        for name, taken in seconds.items()
    }
    print(f"{'command':<16} {'median ms':>10} {'of bare':>8}")
    for name in seconds:
        print(f"{name:<16} {medians[name] * 1000:>10.1f} {ratios[name]:>8.2f}")
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "rounds": len(seconds["bare --help"]),
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "ratio_to_bare": {name: round(value, 3) for name, value in ratios.items()},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
