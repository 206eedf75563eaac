"""What is left of an attempt when it has ended: its exit code, and its record in the store."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from runner.errors import UserError
from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.runs.record_types.result import Result
from runner.runs.records import utc_now
from runner.storage.manifest import Damaged
from runner.storage.store import StoreUnavailable
from runner.train.agent.hangs.reach import StoreNotReached
from runner.train.agent.outcome import Outcome

EXIT_CODES = {"succeeded": SUCCEEDED, "cancelled": FAILED, "interrupted": INTERRUPTED, "superseded": INTERRUPTED}
"""By how an attempt ended; everything else is `FAILED`."""


def interrupted(reason: str, *, retry: bool = True) -> Outcome:
    """Return the outcome of an attempt that the agent itself ends, or has to end."""
    return Outcome(kind="interrupted", reason=reason, retry=retry)


def exit_code_of_call(call: Callable[[], int], log: logging.Logger) -> int:
    """Return what `call` returns, or the exit code of what a program of the training side raises, which is logged."""
    try:
        return call()
    except UserError as error:
        log.error("%s", error)
        return MISTAKE
    except StoreNotReached as error:
        log.error("%s", error)
        return FAILED
    except StoreUnavailable as error:
        log.error("the store does not answer: %s", error)
        return INTERRUPTED
    except Damaged as error:
        log.error("damaged in the store: %s", error)
        return FAILED


def exit_code_of(outcome: Outcome, *, mistake: bool, counts_attempts: bool) -> int:
    """Return the exit code of an attempt.

    Args:
        outcome: how it ended.
        mistake: whether a training process ended with `MISTAKE`.
        counts_attempts: whether this program decides how many attempts there are, and not its caller.
    """
    if outcome.kind == "failed" and mistake:
        return MISTAKE
    exit_code = EXIT_CODES.get(outcome.kind, FAILED)
    if exit_code == INTERRUPTED and not outcome.retry and not outcome.paused and counts_attempts:
        # INTERRUPTED would ask for another attempt, and of two jobs that make attempts at one run, each would end
        # the other's for ever.
        return FAILED
    return exit_code


def ended_record(outcome: Outcome, *, state: str, exit_code: int, hung: bool, again: bool | None) -> dict[str, Any]:
    """Return the attempt's `AttemptEnded`.

    Args:
        outcome: how it ended.
        state: the same in a word, after what the run's result says.
        exit_code: the attempt's.
        hung: whether it was ended because it hung.
        again: whether this process makes another attempt; None where it does not say.
    """
    record: dict[str, Any] = {
        "ended_at": utc_now(),
        "exit_code": exit_code,
        "outcome": state,
        "reason": outcome.reason,
        "retry": outcome.retry,
    }
    if outcome.split is not None:
        record["split"] = outcome.split
    if hung:
        record["hung"] = True
    if again is not None:
        record["again"] = again
    if outcome.outside:
        record["outside"] = True
    if outcome.paused:
        record["paused"] = True
    if outcome.capped:
        record["capped"] = True
    if outcome.cause is not None:
        record["cause"] = outcome.cause
    return record


def result_record(
    outcome: Outcome,
    *,
    progress: Mapping[str, Any],
    attempts: int,
    cost: float | None,
    duration_seconds: float,
    machine: Mapping[str, Any],
) -> Result:
    """Return the run's `Result`.

    Args:
        outcome: how the run ended.
        progress: how far it got, as its heartbeat says it.
        attempts: the number of the last attempt.
        cost: what all attempts have cost, in US dollars; None: no machine had a price.
        duration_seconds: how long they took.
        machine: what is said of the last attempt's machine if the run has succeeded.
    """
    result: dict[str, Any] = {
        "state": outcome.kind,
        "reason": outcome.reason,
        "ended_at": utc_now(),
        "attempts": attempts,
        "cost": cost,
        "duration_seconds": duration_seconds,
        **(machine if outcome.kind == "succeeded" else {}),
        **{name: progress.get(name) for name in ("step", "max_steps")},
        **{name: progress[name] for name in ("stage", "stage_number") if name in progress},
        **(outcome.result or {}),
    }
    return cast(Result, result)


def oom_kills() -> int:
    """Return how many processes of this container the kernel has killed for memory; 0 if unknown."""
    for file in ("memory.events", "memory/memory.oom_control"):  # cgroup v2, v1
        try:
            lines = Path("/sys/fs/cgroup", file).read_text().splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
