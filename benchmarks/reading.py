"""How long 1 GB of JSON Lines takes to read: ours, every cell as it is written, beside `datasets.load_dataset`.

    python benchmarks/reading.py [--gb 1.0] [--rounds 3]
    python benchmarks/reading.py --gb 0.002 --rounds 1    # seconds: does it still run?

Each reads the same file in a process of its own, with an empty cache, and writes Arrow files that are mapped into
memory. *Read* is the time until the rows can be used; *every row* adds the time to go through all of them once, as a
list of Python values, which is what any conversion of rows does next. The processes' start and imports are not counted.
*Its CPU* is what all cores spent on reading, which other work on the machine changes less than the time. Peak memory is
the process's and its largest child's, imports included.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

READ = """
import json, os, resource, sys, time
from pathlib import Path
contender, path, folder = sys.argv[1:]
import datasets
datasets.disable_progress_bars()
from runner.train.data.local_files import read_files
from runner.train.data.mixture import keep_temporary_files_in
keep_temporary_files_in(Path(folder))
def cpu():
    return sum(os.times()[:4])
began, used = time.perf_counter(), cpu()
if contender == "runner":
    rows = read_files([Path(path)], str)
else:
    rows = datasets.load_dataset("json", data_files=path, split="train", cache_dir=folder)
read, read_cpu = time.perf_counter(), cpu()
count = sum(len(next(iter(batch.values()))) for batch in rows.iter(1000))
all_rows = time.perf_counter()
peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
figures = {"read": read - began, "cpu": read_cpu - used, "every row": all_rows - began, "peak MiB": peak / 1024}
print(json.dumps({**figures, "rows": count}))
"""
CONTENDERS = ("runner", "datasets")
WORDS = ["the", "data", "are", "what", "their", "file", "says", "café", "naïve", "2024-03-04", '"quoted"', "42.\n"]


def conversation(random_: random.Random, texts: list[str]) -> dict[str, Any]:
    """Return a row of two turns."""
    question, answer = random_.choices(texts, k=2)
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def pair(random_: random.Random, texts: list[str]) -> dict[str, Any]:
    """Return a prompt and a completion."""
    prompt, completion = random_.choices(texts, k=2)
    return {"prompt": prompt, "completion": completion}


def record(random_: random.Random, texts: list[str]) -> dict[str, Any]:
    """Return a short row of many columns, which costs a parser most for its size."""
    prompt, completion = (text[:30] for text in random_.choices(texts, k=2))
    return {
        "id": random_.randrange(10**9),
        "prompt": prompt,
        "completion": completion,
        "day": "2024-03-04",
        "score": round(random_.random(), 3),
        "checked": True,
        "note": None,
    }


KINDS: dict[str, Callable[[random.Random, list[str]], dict[str, Any]]] = {
    "conversations": conversation,
    "pairs": pair,
    "records": record,
}


def main() -> None:
    """Measure, and print a table and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=1.0, help="size of each file, in 10^9 bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for kind in options.kinds:
            path = Path(name) / f"{kind}.jsonl"
            write(path, int(options.gb * 1e9), KINDS[kind])
            taken = [{contender: measure(contender, path) for contender in CONTENDERS} for _ in range(options.rounds)]
            path.unlink()
            figures[kind] = {
                contender: {
                    figure: statistics.median(one[contender][figure] for one in taken) for figure in taken[0][contender]
                }
                for contender in CONTENDERS
            }
    print(f"{options.gb:g} GB of JSON Lines; medians of {options.rounds}")
    print(f"{'rows':<14} {'reader':<10} {'read s':>8} {'its CPU s':>10} {'every row s':>12} {'peak MiB':>9}")
    for kind, readers in figures.items():
        for contender, values in readers.items():
            print(
                f"{kind:<14} {contender:<10} {values['read']:>8.2f} {values['cpu']:>10.2f} "
                f"{values['every row']:>12.2f} {values['peak MiB']:>9.0f}"
            )
    ratios = {
        kind: {figure: readers["runner"][figure] / readers["datasets"][figure] for figure in readers["runner"]}
        for kind, readers in figures.items()
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(json.dumps({"machine": machine, "gb": options.gb, "medians": figures, "ratios": ratios}))


def write(path: Path, size: int, make: Callable[[random.Random, list[str]], dict[str, Any]]) -> None:
    """Write rows of one kind until the file has its size; half of them with escapes for all but ASCII."""
    random_ = random.Random(0)
    texts = [" ".join(random_.choices(WORDS, k=random_.randint(20, 300))) for _ in range(3000)]
    written = number = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            written += file.write(json.dumps(make(random_, texts), ensure_ascii=number % 2 == 0) + "\n")
            number += 1


def measure(contender: str, path: Path) -> dict[str, float]:
    """Return one reading's figures."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            [sys.executable, "-c", READ, contender, str(path), folder],
            env={**os.environ, "HF_HOME": folder, "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    figures: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
