"""Whether a run's newest attempt is alive, and the records that others write when it is not."""

import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.process import boot_id, pid_namespace, process_runs
from runner.runs.attempts import read_claim, read_ended, read_heartbeat
from runner.runs.layout import attempt_key, run_key
from runner.runs.record_types.attempt import AttemptEnded, ClaimRecord, Heartbeat
from runner.runs.record_types.result import Result
from runner.runs.records import encoded, numbered_records, times_reopened, utc_now, write_result
from runner.storage.store import NotFound, Store

FRESH_SECONDS = 60.0
"""An attempt whose last sign of life is older than this is taken for dead."""

_CLOCKS_DIFFER_SECONDS = 900.0
"""As far as a store's clock may be before ours: S3 takes no request from a client that is further behind."""


@dataclass(frozen=True, kw_only=True)
class NewestAttempt:
    """The records of a run's newest attempt, and its last sign of life."""

    run_id: str
    """The run."""
    number: int
    """Its number; attempts are counted from 1."""
    claim: ClaimRecord
    """``attempts/<n>.json``."""
    heartbeat: Heartbeat | None
    """``attempts/<n>.heartbeat.json``; None if there is none that can be read."""
    ended: AttemptEnded | None
    """``attempts/<n>.ended.json``; None if it is alive or was killed."""
    last_sign_seconds: float
    """Age of the claim or the heartbeat, whichever is newer, by the store's clock against ours."""

    def process_here(self) -> bool | None:
        """Whether its process lives on this machine; None: it was started elsewhere (or in another container)."""
        if self.claim.get("boot_id") != boot_id() or self.claim.get("host") != os.uname().nodename:
            return None
        if self.claim.get("pid_namespace") not in (None, pid_namespace()):
            return None
        pid = self.claim.get("pid")
        return None if pid is None else any(process_runs(pid, word) for word in _words(self.run_id))

    def alive(self) -> bool:
        """Whether the attempt still runs, as far as can be known from here."""
        if self.ended is not None:
            return False
        here = self.process_here()
        return self.last_sign_seconds < FRESH_SECONDS if here is None else here


def _words(run_id: str) -> list[str]:
    """Return what the command line of an attempt's process may hold: its run, or the sweep that it is a trial of."""
    sweep_id, _, number = run_id.rpartition("-")
    return [run_id, sweep_id] if sweep_id and number.isdecimal() and len(number) >= 4 else [run_id]


def _age_seconds(moment: datetime) -> float:
    """Return how long ago something was written. What was written far in the future is not a sign of life."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return -seconds if seconds < -_CLOCKS_DIFFER_SECONDS else max(0.0, seconds)


def newest_attempt(store: Store, run_id: str) -> NewestAttempt | None:
    """The attempt with the highest number; None if there has been none.

    Raises:
        DamagedRecord: its claim or its end cannot be trusted.
    """
    numbers = numbered_records(store, run_key(run_id, "attempts/"))
    if not numbers:
        return None
    number = max(numbers)
    times = numbers[number]
    try:
        claim = read_claim(store, run_id, number)
    except NotFound:
        return None  # the run is being deleted
    last_sign = max(times.get("heartbeat", times[""]), min(times.values()))
    return NewestAttempt(
        run_id=run_id,
        number=number,
        claim=claim,
        heartbeat=read_heartbeat(store, run_id, number) if "heartbeat" in times else None,
        ended=read_ended(store, run_id, number) if "ended" in times else None,
        last_sign_seconds=_age_seconds(last_sign),
    )


def write_killed(store: Store, attempt: NewestAttempt, *, signal_number: int) -> None:
    """Record that a signal killed `attempt`, as its parent saw it. What the attempt wrote itself stands."""
    name = signal.Signals(signal_number).name
    guess = ", by hand or by the kernel for lack of memory" if signal_number == signal.SIGKILL else ""
    record = AttemptEnded(
        token=attempt.claim["token"],
        ended_at=utc_now(),
        exit_code=-signal_number,
        outcome="interrupted",
        reason=f"killed ({name}{guess})",
        retry=True,
    )
    store.create(attempt_key(attempt.run_id, attempt.number, "ended"), encoded(record))


def write_cancelled(store: Store, run_id: str) -> None:
    """End a run that nobody works on and whose end was requested. A result that exists stands."""
    attempt = newest_attempt(store, run_id)
    heartbeat: Heartbeat = (attempt.heartbeat if attempt else None) or {}
    result = Result(
        state="cancelled",
        reason="cancelled on request",
        ended_at=utc_now(),
        attempts=attempt.number if attempt else 0,
        step=heartbeat.get("step"),
        max_steps=heartbeat.get("max_steps"),
        before=None,
        after=None,
        generations=[],
        best=None,
        artifacts={},
    )
    if "cost" in heartbeat:
        result["cost"] = heartbeat["cost"]
    if "stage" in heartbeat:
        result["stage"] = heartbeat["stage"]
    if "stage_number" in heartbeat:
        result["stage_number"] = heartbeat["stage_number"]
    write_result(store, run_id, result, reopened=times_reopened(store, run_id))
