"""Records that the control side writes for an attempt that cannot write them any more."""

import json
import signal
from datetime import UTC, datetime
from typing import Any

from runner.runs.layout import RESULT, attempt_key, run_key
from runner.runs.status import AttemptView, newest_attempt
from runner.storage.store import Store


def utc_now() -> str:
    """The time as records hold it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_killed(store: Store, attempt: AttemptView, *, signal_number: int) -> None:
    """Record that a signal killed `attempt`, as its parent saw it. What the attempt wrote itself stands."""
    name = signal.Signals(signal_number).name
    guess = ", by hand or by the kernel for want of memory" if signal_number == signal.SIGKILL else ""
    record = {
        "token": attempt.claim["token"],
        "ended_at": utc_now(),
        "exit_code": -signal_number,
        "outcome": "interrupted",
        "reason": f"killed ({name}{guess})",
        "retry": True,
    }
    store.create(attempt_key(attempt.run_id, attempt.number, "ended"), json.dumps(record, indent=2).encode())


def write_cancelled(store: Store, run_id: str) -> None:
    """End a run that nobody works on and that somebody asked to be cancelled. A result that is there stands."""
    attempt = newest_attempt(store, run_id)
    heartbeat = (attempt.heartbeat if attempt else None) or {}
    record: dict[str, Any] = {
        "state": "cancelled",
        "reason": "cancelled on request",
        "ended_at": utc_now(),
        "attempts": attempt.number if attempt else 0,
        "step": heartbeat.get("step"),
        "max_steps": heartbeat.get("max_steps"),
        **{name: heartbeat[name] for name in ("stage", "stage_number") if name in heartbeat},
        "before": None,
        "after": None,
        "generations": [],
        "best": None,
        "artifacts": {},
    }
    store.create(run_key(run_id, RESULT), json.dumps(record, indent=2).encode())
