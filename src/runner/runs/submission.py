"""``submission.json``: how a run was launched first, and which variables it was given."""

import socket
from collections.abc import Sequence

from runner.process import boot_id
from runner.runs.layout import SUBMISSION, run_key
from runner.runs.record_types.run import Submission
from runner.runs.records import encoded, find_record, utc_now
from runner.storage.store import Store


def read_submission(store: Store, run_id: str) -> Submission | None:
    """A run's ``submission.json``; None if it was not launched to a machine of one's own.

    Raises:
        DamagedRecord: it cannot be trusted.
    """
    return find_record(store, run_key(run_id, SUBMISSION), Submission)


def write_submission(store: Store, run_id: str, *, pid: int, environment: Sequence[str]) -> None:
    """Record which process supervises the run, and the names (never the values) of the variables it was given.

    A record that exists already stays: it says how the run was launched first.
    """
    submission = Submission(
        version=1,
        engine="local",
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=pid,
        environment=sorted(environment),
        submitted_at=utc_now(),
    )
    store.create(run_key(run_id, SUBMISSION), encoded(submission))


def needed_environment(store: Store, run_id: str) -> list[str]:
    """Return the names of the variables that a run was launched with."""
    submission = read_submission(store, run_id)
    return [] if submission is None else submission.get("environment", [])


def submission_boot_id(store: Store, run_id: str) -> str | None:
    """Return the boot of the machine that a run was launched from; None if unknown."""
    submission = read_submission(store, run_id)
    return None if submission is None else submission.get("boot_id")
