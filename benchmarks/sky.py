"""The time that our commands take against SkyPilot's, for the same jobs on the Slurm of the tests.

    tests/slurm/inside.sh .venv/bin/python benchmarks/sky.py [--rounds 5] [--launches 1]

Run `make test-sky` first: it installs what this needs. Runs are started in two ways, alternately: by `runner launch`,
and by `sky jobs launch` of what `runner render` prints; the time is from the start of the command to the first training
step in the store. Then each round times, one after the other: `runner ps` against `sky jobs queue`, `runner logs`
against `sky jobs logs` of the same finished job, and `runner render`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.servers.s3 import make_bucket, ministack  # noqa: E402  tests/ has to be on the path first
from support.slurm_bed import Testbed, standing  # noqa: E402

RECIPE = """
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: "builtin:python-docstrings", sample: 200}]}
training: {max_steps: 30, effective_batch_size: 4, max_length: 48, gradient_checkpointing: false}
resources: {accelerators: T4:1, cpus: 1+, memory: 2+}
"""
AGAINST = {
    "runner launch: to the first step": "sky jobs launch: to the first step",
    "runner ps": "sky jobs queue",
    "runner logs": "sky jobs logs",
}
"""Our commands, each with SkyPilot's that answers the same question."""
SECRETS = ("--secret", "AWS_ACCESS_KEY_ID", "--secret", "AWS_SECRET_ACCESS_KEY")


def seconds(command: Callable[[], "subprocess.CompletedProcess[str]"]) -> float:
    """Return how long a command takes, which has to succeed."""
    began = time.monotonic()
    process = command()
    assert process.returncode == 0, process.stderr
    return time.monotonic() - began


def seconds_to_first_step(bed: Testbed, run_id: str, start: Callable[[], None]) -> float:
    """Return the seconds from the start of a launch to the first training step; wait for the run's end."""
    began = time.monotonic()
    start()
    while not ((bed.find(run_id) or {}).get("step") or 0) > 0:  # by hand, the run appears when its job begins
        time.sleep(0.2)
    elapsed = time.monotonic() - began
    assert bed.runner("wait", run_id).returncode == 0
    return elapsed


def report(raw: Mapping[str, Sequence[float]]) -> str:
    """Return the table: each command's median, and how many times as long SkyPilot's takes."""
    medians = {name: statistics.median(values) for name, values in raw.items()}
    lines = ["| ours | | SkyPilot's | | SkyPilot's over ours |", "|---|---|---|---|---|"]
    for name, value in medians.items():
        other = AGAINST.get(name)
        if other is not None:
            lines.append(
                f"| `{name}` | {value:.2f} s | `{other}` | {medians[other]:.2f} s | {medians[other] / value:.2f} |"
            )
        elif name not in AGAINST.values():
            lines.append(f"| `{name}` | {value:.2f} s | | | |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table, then all figures as JSON."""
    parser = argparse.ArgumentParser(description="Time runner's commands against SkyPilot's.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each command is timed")
    parser.add_argument("--launches", type=int, default=1, help="how many runs are started in each way")
    options = parser.parse_args()
    raw: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ministack(Path(folder)) as server:
        make_bucket(server)
        with standing(Path(folder), server) as bed:
            recipe = bed.folder / "timed.yaml"
            recipe.write_text(RECIPE)
            where = [str(recipe), "--infra", "slurm/testbed", "--name"]

            def ours(run_id: str) -> None:
                process = bed.runner("launch", *where, run_id, "--detach")
                assert process.returncode == 0, process.stderr

            task = bed.folder / "task.yaml"

            def by_hand(run_id: str) -> None:
                process = bed.sky("jobs", "launch", "--yes", "--detach-run", str(task), *SECRETS)
                assert process.returncode == 0, process.stderr

            task.write_text(bed.runner("render", *where, "warm-up").stdout)
            seconds_to_first_step(
                bed, "warm-up", lambda: by_hand("warm-up")
            )  # SkyPilot's server and controller start with it
            for number in range(options.launches):
                for name, start in (("runner launch", ours), ("sky jobs launch", by_hand)):
                    run_id = f"{name.split()[0]}-{number}"
                    task.write_text(bed.runner("render", *where, run_id).stdout)
                    took = seconds_to_first_step(bed, run_id, partial(start, run_id))
                    raw.setdefault(f"{name}: to the first step", []).append(took)
                    print(f"{name}: {took:.1f} s", file=sys.stderr)
            [job] = json.loads(bed.store.get("runs/runner-0/launches/0001.job.json")).values()
            commands: dict[str, Callable[[], subprocess.CompletedProcess[str]]] = {
                "runner ps": lambda: bed.runner("ps"),
                "sky jobs queue": lambda: bed.sky("jobs", "queue"),
                "runner logs": lambda: bed.runner("logs", "runner-0"),
                "sky jobs logs": lambda: bed.sky("jobs", "logs", "--no-follow", str(job)),
                "runner render": lambda: bed.runner("render", "smollm2-135m-lora", "--gpu", "a100:8", "--infra", "aws"),
            }
            for _ in range(options.rounds):
                for name, command in commands.items():
                    raw.setdefault(name, []).append(seconds(command))
    print(report(raw))
    print(json.dumps(raw))


if __name__ == "__main__":
    main()
