"""A stand-in for a sweep's worker: says what it was given, and works until it is told to stop.

``FAKE_WORKER`` in the environment: ``work`` (the default), ``end`` (there is nothing to do), ``refuse`` (a mistake), or
``deaf`` (does not react to SIGTERM).
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """Write what it was given to ``given.json`` in its folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store")
    parser.add_argument("--sweep")
    parser.add_argument("--work-dir", type=Path)
    parser.add_argument("--worker")
    parser.add_argument("--idle-minutes", type=float)
    options = parser.parse_args()
    plan = os.environ.get("FAKE_WORKER", "work")
    given = {
        "pid": os.getpid(),
        "store": options.store,
        "sweep": options.sweep,
        "idle_minutes": options.idle_minutes,
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "secret": os.environ.get("A_SECRET"),
    }
    signal.signal(signal.SIGTERM, signal.SIG_IGN if plan == "deaf" else lambda *_: sys.exit(75))
    options.work_dir.mkdir(parents=True, exist_ok=True)
    part = options.work_dir / f"given.{os.getpid()}"
    part.write_text(json.dumps(given))
    part.replace(options.work_dir / "given.json")
    print("at work", flush=True)
    if plan == "refuse":
        print("no such sweep", flush=True)
        sys.exit(2)
    while plan != "end":
        time.sleep(0.05)


if __name__ == "__main__":
    main()
