"""How an attempt ended, from how each of its training processes did.

When one process fails or is killed, the others fail too, because they miss it. What counts is the first cause.
"""

import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.exit_codes import MISTAKE

OutcomeKind = Literal["succeeded", "failed", "interrupted", "superseded", "cancelled", "out_of_memory"]

Cause = Literal["diverged", "out_of_memory"]
CAUSES: tuple[Cause, ...] = ("diverged", "out_of_memory")
_KINDS: tuple[OutcomeKind, ...] = ("succeeded", "failed", "interrupted", "superseded", "cancelled", "out_of_memory")
_ABORTS = (signal.SIGABRT,)
"""Signals by which a process ends itself: NCCL's watchdog does when another process is gone."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended, or a training process by its own account."""

    kind: OutcomeKind
    """``outcome`` in records. ``cancelled`` and ``superseded`` are noticed by the agent, except during a commit."""
    reason: str | None
    """Why, in a sentence; None after success."""
    retry: bool
    """Whether another attempt may get further without anybody's help."""
    split: list[int] | None = None
    """Micro-batch and accumulation: those that ran out of memory, and later those that the next attempt trains with."""
    lost_peer: bool = False
    """The error says no more than that another training process has gone."""
    outside: bool = False
    """Something outside of the run failed (a service, a mount, a GPU) that may be back later."""
    paused: bool = False
    """The training is at the step that its sweep had it pause at; its checkpoint is in the store."""
    capped: bool = False
    """The run may cost no more, by its owner's ``--max-cost``."""
    cause: Cause | None = None
    """Of a failure that says something of the recipe's values: which."""
    result: Mapping[str, Any] | None = None
    """What the run's result holds beside how it ended; after success, or with the model that its owner kept."""

    def to_record(self) -> dict[str, Any]:
        """The outcome in JSON."""
        record: dict[str, Any] = {"outcome": self.kind, "reason": self.reason, "retry": self.retry}
        if self.split is not None:
            record["split"] = self.split
        if self.lost_peer:
            record["lost_peer"] = True
        if self.outside:
            record["outside"] = True
        if self.paused:
            record["paused"] = True
        if self.cause is not None:
            record["cause"] = self.cause
        if self.result is not None:
            record["result"] = dict(self.result)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Outcome":
        """Read what `to_record` has written.

        Raises:
            ValueError: it is not an outcome.
        """
        kind, reason, split, result = (record.get(name) for name in ("outcome", "reason", "split", "result"))
        if kind not in _KINDS or not (reason is None or isinstance(reason, str)):
            raise ValueError(f"not an outcome: {record!r}")
        if split is not None and not (
            isinstance(split, list) and len(split) == 2 and all(type(part) is int and part > 0 for part in split)
        ):
            raise ValueError(f"not a micro-batch and an accumulation: {split!r}")
        if result is not None and not isinstance(result, Mapping):
            raise ValueError(f"not a result: {result!r}")
        return cls(
            kind=kind,
            reason=reason,
            retry=record.get("retry") is True,
            split=split,
            lost_peer=record.get("lost_peer") is True,
            outside=record.get("outside") is True,
            paused=record.get("paused") is True,
            cause=next((cause for cause in CAUSES if cause == record.get("cause")), None),
            result=result,
        )


@dataclass(frozen=True, kw_only=True)
class WorkerExit:
    """How a training process ended, as the agent on its node saw it."""

    rank: int
    """Its rank among all."""
    code: int
    """Its exit code; negative: the signal that killed it."""
    killed: bool
    """Whether the agent has ended it."""
    outcome: Outcome | None
    """Its own account; None if it gave none."""
    reported_at: float
    """``said_at`` in records: when it gave its account, in seconds of the system's clock; 0 if it gave none."""

    def to_record(self) -> dict[str, Any]:
        """The end in JSON."""
        return {
            "rank": self.rank,
            "code": self.code,
            "killed": self.killed,
            "outcome": None if self.outcome is None else self.outcome.to_record(),
            "said_at": self.reported_at,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "WorkerExit":
        """Read what `to_record` has written.

        Raises:
            ValueError: it is not the end of a training process.
        """
        rank, code, outcome, at = (record.get(name) for name in ("rank", "code", "outcome", "said_at"))
        if type(rank) is not int or type(code) is not int or not isinstance(at, int | float):
            raise ValueError(f"not the end of a training process: {record!r}")
        if code < 0 and -code not in signal.valid_signals():
            raise ValueError(f"not the end of a training process: {record!r}")
        if outcome is not None and not isinstance(outcome, Mapping):
            raise ValueError(f"not an outcome: {outcome!r}")
        return cls(
            rank=rank,
            code=code,
            killed=record.get("killed") is True,
            outcome=None if outcome is None else Outcome.from_record(outcome),
            reported_at=float(at),
        )


@dataclass(frozen=True, kw_only=True)
class NodeExit:
    """How an attempt went on a node that is not the head."""

    exit_code: int
    """The worst of its training processes'."""
    ends: Sequence[WorkerExit]
    """How each of them ended."""
    last_lines: Sequence[str]
    """The end of what they printed, each line with its line break."""
    host: str
    """The machine's name."""

    def to_record(self) -> dict[str, Any]:
        """The end in JSON."""
        ends = [end.to_record() for end in self.ends]
        return {"exit_code": self.exit_code, "ends": ends, "last_lines": list(self.last_lines), "host": self.host}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "NodeExit":
        """Read what `to_record` has written.

        Raises:
            ValueError: it is not the end of a node's part.
        """
        code, ends, lines = (record.get(name) for name in ("exit_code", "ends", "last_lines"))
        if type(code) is not int or not isinstance(ends, list) or not isinstance(lines, list):
            raise ValueError(f"not the end of a node's part: {record!r}")
        if not all(isinstance(end, Mapping) for end in ends):
            raise ValueError(f"not the ends of training processes: {ends!r}")
        workers = [WorkerExit.from_record(end) for end in ends]
        return cls(exit_code=code, ends=workers, last_lines=[str(line) for line in lines], host=str(record.get("host")))


def attempt_outcome(
    ends: Sequence[WorkerExit], *, missing_nodes: Iterable[int] = (), out_of_main_memory: bool = False
) -> Outcome:
    """Return the outcome of the attempt: the first cause of how its training processes ended.

    Args:
        ends: of all training processes that are known to have ended.
        missing_nodes: nodes that are lost.
        out_of_main_memory: whether the kernel has killed a process here because main memory ran out.
    """
    first = next((end for end in ends if end.rank == 0), None)
    if first is not None and first.outcome is not None and first.outcome.result is not None:
        return first.outcome
    by_time = sorted((end for end in ends if end.outcome is not None), key=lambda end: end.reported_at)
    by_rank = sorted(by_time, key=lambda end: end.rank)

    def outcomes(kind: OutcomeKind, among: Sequence[WorkerExit] = by_time) -> list[Outcome]:
        return [end.outcome for end in among if end.outcome is not None and end.outcome.kind == kind]

    if shortages := outcomes("out_of_memory"):
        return shortages[0]
    if mistakes := [end.outcome for end in by_time if end.outcome is not None and end.code == MISTAKE]:
        return mistakes[0]
    if superseded := outcomes("superseded"):
        return superseded[0]
    for node in missing_nodes:
        return Outcome(kind="interrupted", reason=f"machine {node}'s heartbeats have stopped", retry=True)
    killed = [end for end in ends if end.code < 0 and not end.killed]
    for end in killed:
        if -end.code not in _ABORTS:
            return _killed(end, out_of_main_memory, len(ends))
    if interrupted := outcomes("interrupted", by_rank):
        return interrupted[0]
    failed = outcomes("failed")
    if causes := [outcome for outcome in failed if not outcome.lost_peer]:
        return causes[0]
    if failed:
        return Outcome(kind="interrupted", reason=f"a training process went away ({failed[0].reason})", retry=True)
    for end in killed:
        return _killed(end, out_of_main_memory, len(ends))
    for end in sorted(ends, key=lambda end: not end.code):
        if end.code > 0 or end.rank == 0:
            reason = f"{_name(end, len(ends))} ended with exit code {end.code}"
            return Outcome(kind="failed", reason=reason, retry=False)
    return Outcome(kind="interrupted", reason="the training processes ended without saying how", retry=True)


def _killed(end: WorkerExit, out_of_main_memory: bool, processes: int) -> Outcome:
    reason = f"{_name(end, processes)} was killed by {signal.Signals(-end.code).name}"
    if out_of_main_memory:
        reason += ": it ran out of main memory"
    return Outcome(kind="interrupted", reason=reason, retry=True)


def _name(end: WorkerExit, processes: int) -> str:
    return "the training process" if processes == 1 else f"training process {end.rank} of {processes}"
