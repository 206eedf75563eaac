"""The records of a run in the store: read, checked and written in one place."""

import json
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner.process import boot_id, pid_namespace, process_runs
from runner.runs.layout import RESULT, RUN, attempt_key, run_key
from runner.storage.store import NotFound, Store

FRESH_SECONDS = 60.0
"""An attempt whose last sign of life is older than this is taken for dead."""


_ATTEMPT_RECORD = re.compile(r"(?P<number>\d{4,})(?:\.(?P<kind>[a-z]+))?\.json")


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """The records of a run's newest attempt."""

    run_id: str
    """Whose it is."""
    number: int
    """Its number; attempts are counted from 1."""
    claim: Mapping[str, Any]
    """``attempts/<n>.json``."""
    heartbeat: Mapping[str, Any] | None
    """``attempts/<n>.heartbeat.json``."""
    ended: Mapping[str, Any] | None
    """``attempts/<n>.ended.json``."""
    last_sign_seconds: float
    """Age of the claim or the heartbeat, whichever is newer, by the store's clock against ours."""

    def process_here(self) -> bool | None:
        """Whether its process lives on this machine; None: it was started elsewhere (or in another container)."""
        if self.claim.get("boot_id") != boot_id() or self.claim.get("host") != os.uname().nodename:
            return None
        if self.claim.get("pid_namespace") not in (None, pid_namespace()):
            return None
        return process_runs(int(self.claim["pid"]), self.run_id)

    def alive(self) -> bool:
        """Whether the attempt still runs, as far as can be known from here."""
        if self.ended is not None:
            return False
        here = self.process_here()
        return self.last_sign_seconds < FRESH_SECONDS if here is None else here


def run_document(store: Store, run_id: str) -> dict[str, Any]:
    """A run's ``run.json``.

    Raises:
        NotFound: there is no such run.
    """
    document: dict[str, Any] = json.loads(store.get(run_key(run_id, RUN)))
    return document


def run_result(store: Store, run_id: str) -> dict[str, Any] | None:
    """A run's ``result.json``; None if it has not ended."""
    return _record(store, run_key(run_id, RESULT))


def newest_attempt(store: Store, run_id: str) -> AttemptView | None:
    """The attempt with the highest number; None if there has been none."""
    kinds: dict[int, dict[str, datetime]] = {}
    for entry in store.objects(run_key(run_id, "attempts/")):
        match = _ATTEMPT_RECORD.fullmatch(entry.key.rpartition("/")[2])
        if match is not None:
            kinds.setdefault(int(match["number"]), {})[match["kind"] or "claim"] = entry.last_modified
    if not kinds:
        return None
    number = max(kinds)
    times = kinds[number]
    last_sign = max(times.get("heartbeat", times.get("claim", datetime.min.replace(tzinfo=UTC))), min(times.values()))

    def record(kind: str) -> dict[str, Any] | None:
        if (kind or "claim") not in times:
            return None
        return _record(store, attempt_key(run_id, number, kind))

    return AttemptView(
        run_id=run_id,
        number=number,
        claim=record("") or {},
        heartbeat=record("heartbeat"),
        ended=record("ended"),
        last_sign_seconds=max(0.0, (datetime.now(UTC) - last_sign).total_seconds()),
    )


def _record(store: Store, key: str) -> dict[str, Any] | None:
    """One JSON object; None if it is not there."""
    try:
        record: dict[str, Any] = json.loads(store.get(key))
    except NotFound:
        return None
    return record


def encoded(document: Mapping[str, Any]) -> bytes:
    """A record as it is written to the store."""
    return json.dumps(document, indent=2).encode() + b"\n"


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
