"""What SkyPilot last said of a run: remembered on this machine, asked anew in the background, never waited for.

``python -m runner.launch.news --store URL --run RUN_ID`` asks once. The store knows all that an attempt does; only what
comes before the first attempt and between two (a queue, a machine being made ready, no capacity) is SkyPilot's to say.
"""

import argparse
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.launch import skypilot
from runner.launch.launches import newest_launch, note_ended
from runner.launch.places import engine_cache
from runner.spec.errors import UserError
from runner.storage.open import open_store

FRESH_SECONDS = 10.0
"""What SkyPilot said longer ago is asked anew; each question costs it seconds of computing."""


def ask_in_background(store_url: str, run_id: str) -> None:
    """Have SkyPilot asked by a process of its own, unless one is at it or what is known is fresh. Returns at once."""
    path = engine_cache(store_url, run_id)
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime < FRESH_SECONDS:
            return
    if _is_locked(path):
        return
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-P", "-m", "runner.launch.news", "--store", store_url, "--run", run_id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def refresh(store_url: str, run_id: str) -> Mapping[str, Any] | None:
    """Ask now, remember the answer, and write it to the store if it is an end. None: somebody else is asking."""
    path = engine_cache(store_url, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(path).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        store = open_store(store_url)
        launch = newest_launch(store, run_id)
        if launch is None or launch.ended is not None:
            return None
        try:
            news = {**skypilot.ask("job", **launch.handle), "launch": launch.number}
        except (skypilot.SkyPilotSays, UserError) as error:
            news = {"status": None, "reason": str(error), "ended": False, "launch": launch.number}
        if news.get("ended"):
            note_ended(store, launch, status=news["status"], reason=news["reason"])
        making = path.with_name(f"{path.name}.{os.getpid()}")
        making.write_text(json.dumps(news))
        making.replace(path)
        return news


def _lock_file(path: Path) -> Path:
    return path.with_suffix(".lock")


def _is_locked(path: Path) -> bool:
    try:
        with _lock_file(path).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask once."""
    parser = argparse.ArgumentParser(prog="python -m runner.launch.news")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    options = parser.parse_args(arguments)
    refresh(options.store, options.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
