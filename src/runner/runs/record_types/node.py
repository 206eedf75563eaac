"""The records by which the machines of one attempt meet: ``attempts/<n>/….json``."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from runner.runs.record_types.rules import Checkpoint, Count, Line, Nonce, Size, Split, Token


class NodeJoined(TypedDict):
    """``attempts/<n>/<rank>-<nonce>.json``: a machine wants to take part in the attempt."""

    rank: Count
    """The machine's, from 1: the head has 0."""
    nonce: Nonce
    """Made for this attempt by this process."""
    host: NotRequired[Line]
    """Its host name."""
    pid: NotRequired[Count]
    """Its process."""
    started_at: NotRequired[Line]
    """When."""


class NodeAssignment(TypedDict):
    """What every training process of an attempt has to know, whatever machine it is on."""

    number: Count
    """The attempt's."""
    token: Token
    """The attempt's."""
    split: Split | None
    """Micro-batch and accumulation, after memory ran out; None: as the recipe says."""
    world_size: Size
    """Training processes in all."""
    local_world_size: Size
    """Training processes on each machine."""
    addresses: list[Line]
    """The machines' addresses, by rank."""
    port: Count
    """Where the first machine's process group listens."""


class Admission(TypedDict):
    """``attempts/<n>/go.json``: the attempt begins, with these machines."""

    token: Token
    """The attempt's."""
    nodes: Mapping[str, Nonce]
    """The nonce of the machine that takes part, by rank."""
    checkpoint: NotRequired[Checkpoint | None]
    """What the attempt continues from; None: from the beginning."""
    assignment: NotRequired[NodeAssignment]
    """What the training processes have to know."""


class NodeBeat(TypedDict):
    """``attempts/<n>/<rank>-<nonce>.heartbeat.json``: the machine is alive. Overwritten; only a hint."""

    count: int
    """Grows."""
    busy: NotRequired[int]
    """Grows while the training processes there are at work."""


class WorkerEnd(TypedDict):
    """How one training process ended."""

    rank: Count
    """Its rank among all."""
    code: int
    """Its exit code; negative: the signal that killed it."""
    killed: bool
    """Whether its own agent ended it."""
    outcome: Mapping[str, Any] | None
    """What it said itself (``outcome``, ``reason``, ``retry``); None: nothing."""
    said_at: float
    """When it said so, in seconds since 1970; 0 if it did not."""


class NodeEnded(TypedDict):
    """``attempts/<n>/<rank>-<nonce>.ended.json``: how it went on the machine."""

    nonce: NotRequired[Nonce]
    """The machine's."""
    exit_code: int
    """Of the worst training process."""
    ends: list[WorkerEnd]
    """How each training process ended."""
    last_lines: NotRequired[list[str]]
    """The end of what they printed."""
    host: NotRequired[Line]
    """The machine's host name."""
