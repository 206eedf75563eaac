"""``submission.json``: how a run was launched first, and which variables it was given."""

import json
import socket
from collections.abc import Sequence

from runner.process import boot_id
from runner.runs.layout import SUBMISSION, run_key
from runner.runs.records import encoded, utc_now
from runner.storage.store import NotFound, Store


def write_submission(store: Store, run_id: str, *, pid: int, environment: Sequence[str]) -> None:
    """Record which process supervises the run, and the names (never the values) of the variables it was given.

    A record that exists already stays: it says how the run was launched first.
    """
    record = {
        "version": 1,
        "engine": "local",
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": pid,
        "environment": sorted(environment),
        "submitted_at": utc_now(),
    }
    store.create(run_key(run_id, SUBMISSION), encoded(record))


def needed_environment(store: Store, run_id: str) -> list[str]:
    """Return the names of the variables that a run was launched with."""
    try:
        names: list[str] = json.loads(store.get(run_key(run_id, SUBMISSION)))["environment"]
    except NotFound:
        return []
    return names


def submission_boot_id(store: Store, run_id: str) -> str | None:
    """Return the boot of the machine that a run was launched from; None if unknown."""
    try:
        found: str | None = json.loads(store.get(run_key(run_id, SUBMISSION)))["boot_id"]
    except NotFound:
        return None
    return found
