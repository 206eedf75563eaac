"""Cache of SkyPilot's job status, refreshed in a background process so that no command waits for it.

``python -m runner.backends.skypilot.job_status --store URL RUN_ID...`` asks once. The store knows all that an attempt
does. Only SkyPilot knows what comes before the first attempt and between two: a queue, a machine that is being set up,
no capacity.
"""

import argparse
import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.backends.skypilot import client
from runner.errors import UserError
from runner.paths import engine_cache, make_folder
from runner.runs.launches import newest_launch, note_ended
from runner.storage.atomic import atomic_write
from runner.storage.open import open_store

FRESH_SECONDS = 10.0
"""Older answers are asked for again; each question costs SkyPilot seconds of computing."""


def refresh_in_background(store_url: str, run_ids: Sequence[str]) -> None:
    """Start a process that asks SkyPilot about the runs without a fresh answer. Returns at once.

    One process asks about all of them, one after the other, since each question costs seconds of computing.
    """
    stale = [run_id for run_id in run_ids if not _is_fresh(engine_cache(store_url, run_id))]
    if not stale or _is_locked(_lock_file(store_url)):
        return
    import subprocess  # here: `runner ps` rarely needs it

    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-P", "-m", "runner.backends.skypilot.job_status", "--store", store_url, *stale],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def refresh(store_url: str, run_ids: Sequence[str]) -> None:
    """Ask now, remember the answers, and write ends to the store. Does nothing if another process is asking."""
    lock_file = _lock_file(store_url)
    make_folder(lock_file.parent)
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        store = open_store(store_url)
        newest = [launch for run_id in run_ids if (launch := newest_launch(store, run_id))]
        launches = [launch for launch in newest if launch.ended is None and launch.is_skypilots]
        if not launches:
            return
        try:
            answer = client.ask("jobs", handles=[launch.handle for launch in launches])
            found: list[Mapping[str, Any]] = answer["jobs"]
        except (client.SkyPilotSays, UserError) as error:
            found = [{"status": None, "reason": str(error), "ended": False}] * len(launches)
        for launch, news in zip(launches, found, strict=True):
            if news.get("ended"):
                note_ended(store, launch, status=news["status"], reason=news["reason"])
            _remember(engine_cache(store_url, launch.run_id), {**news, "launch": launch.number})


def _remember(path: Path, news: Mapping[str, Any]) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(news))


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < FRESH_SECONDS
    except OSError:
        return False


def _lock_file(store_url: str) -> Path:
    return engine_cache(store_url, "asking").with_suffix(".lock")


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask once."""
    parser = argparse.ArgumentParser(prog="python -m runner.backends.skypilot.job_status")
    parser.add_argument("--store", required=True)
    parser.add_argument("runs", nargs="+")
    options = parser.parse_args(arguments)
    refresh(options.store, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
