"""How an attempt ended, from how each of its training processes did.

When one process fails or is killed, the others fail too, because they miss it. What counts is the first cause.
"""

import signal
from collections.abc import Iterable, Sequence
from typing import Any

_ABORTS = (signal.SIGABRT,)
"""Signals by which a process ends itself: NCCL's watchdog does when another process is gone."""


def attempt_outcome(
    ends: Sequence[dict[str, Any]], *, missing_nodes: Iterable[int] = (), out_of_main_memory: bool = False
) -> dict[str, Any]:
    """The outcome of the attempt: ``outcome``, ``reason``, ``retry``, and what else its process said.

    ``outcome`` is one of ``succeeded``, ``failed``, ``interrupted``, ``superseded`` and ``out_of_memory``.

    Args:
        ends: for each training process ``rank``, ``code``, ``killed`` (by us), ``outcome`` (what it said itself, or
            None) and ``said_at``.
        missing_nodes: machines that were not heard of any more.
        out_of_main_memory: whether the kernel has killed a process here for memory.
    """
    first = next((end for end in ends if end["rank"] == 0), None)
    if first is not None and first["outcome"] is not None and first["outcome"]["outcome"] == "succeeded":
        return dict(first["outcome"])
    said = sorted((end for end in ends if end["outcome"] is not None), key=lambda end: end["said_at"])
    by_rank = sorted(said, key=lambda end: end["rank"])

    def outcomes(kind: str, among: Sequence[dict[str, Any]] = said) -> list[dict[str, Any]]:
        return [end["outcome"] for end in among if end["outcome"]["outcome"] == kind]

    if found := outcomes("out_of_memory"):
        return dict(found[0])
    if found := [end["outcome"] for end in said if end["code"] == 2]:
        return dict(found[0])
    if found := outcomes("superseded"):
        return dict(found[0])
    for node in missing_nodes:
        return {"outcome": "interrupted", "reason": f"machine {node} was not heard of any more", "retry": True}
    killed = [end for end in ends if end["code"] < 0 and not end["killed"]]
    for end in killed:
        if -end["code"] not in _ABORTS:
            return _killed(end, out_of_main_memory, len(ends))
    if found := outcomes("interrupted", by_rank):
        return dict(found[0])
    failed = outcomes("failed")
    if found := [outcome for outcome in failed if not outcome.get("lost_peer")]:
        return dict(found[0])
    if failed:
        reason = f"a training process went away ({failed[0]['reason']})"
        return {"outcome": "interrupted", "reason": reason, "retry": True}
    for end in killed:
        return _killed(end, out_of_main_memory, len(ends))
    for end in sorted(ends, key=lambda end: not end["code"]):
        if end["code"] > 0 or end["rank"] == 0:
            reason = f"{_name(end, len(ends))} ended with exit code {end['code']}"
            return {"outcome": "failed", "reason": reason, "retry": False}
    return {"outcome": "interrupted", "reason": "the training processes came to no end", "retry": True}


def _killed(end: dict[str, Any], out_of_main_memory: bool, processes: int) -> dict[str, Any]:
    reason = f"{_name(end, processes)} was killed by {signal.Signals(-end['code']).name}"
    if out_of_main_memory:
        reason += ": it ran out of main memory"
    return {"outcome": "interrupted", "reason": reason, "retry": True}


def _name(end: dict[str, Any], processes: int) -> str:
    return "the training process" if processes == 1 else f"training process {end['rank']} of {processes}"
