"""How the machines of one attempt find each other: through the store, in three steps.

The head claims the attempt, as with one machine. Each other machine writes that it wants to take part, with a fresh
nonce. When all have joined the head writes ``go``, which names these nonces: so a machine knows that the attempt it has
found is alive and means this process. An attempt left behind by an earlier launch never answers. SkyPilot's own id of
the launch could not tell the two apart: it stays the same when a managed job is recovered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.runs.attempts import Claim
from runner.runs.layout import attempt_key, new_nonce, node_key, run_key
from runner.runs.record_types.attempt import AttemptEnded
from runner.runs.record_types.node import Admission, NodeBeat, NodeEnded, NodeJoined
from runner.runs.records import find_hint, find_record
from runner.storage.manifest import canonical_json
from runner.storage.store import Store, create_ours

_NODE = re.compile(r"(?P<rank>[1-9][0-9]{0,5})-(?P<nonce>[0-9a-z]{6})\.json")


class NotAdmitted(Exception):
    """An attempt has begun with another machine in our place, or before we joined.

    Args:
        number: the attempt's.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"attempt {number} has begun without us")


@dataclass(frozen=True)
class Participant:
    """A machine's wish to take part in one attempt."""

    run_id: str
    number: int
    rank: int
    nonce: str

    @property
    def name(self) -> str:
        """In keys."""
        return f"{self.rank}-{self.nonce}"


def join(store: Store, run_id: str, number: int, rank: int, record: Mapping[str, Any]) -> Participant:
    """Say that the machine of this rank wants to take part.

    Args:
        store: where the run lives.
        run_id: the run.
        number: the attempt's.
        rank: the machine's, from 1.
        record: who it is: the fields of `NodeJoined` except ``rank`` and ``nonce``, which are added.
    """
    participant = Participant(run_id, number, rank, new_nonce(6))
    joined = NodeJoined(rank=rank, nonce=participant.nonce)
    create_ours(store, node_key(run_id, number, participant.name), _json({**record, **joined}))
    return participant


def participants(store: Store, claim: Claim) -> dict[int, Participant]:
    """The machines that want to take part, by rank: of two of one rank (the older has died) the one that came last."""
    prefix = run_key(claim.run_id, f"attempts/{claim.number:04d}/")
    latest: dict[int, tuple[datetime, Participant]] = {}
    for info in store.objects(prefix):
        match = _NODE.fullmatch(info.key.removeprefix(prefix))
        if match is None:
            continue
        participant = Participant(claim.run_id, claim.number, int(match["rank"]), match["nonce"])
        if participant.rank not in latest or latest[participant.rank][0] <= info.last_modified:
            latest[participant.rank] = (info.last_modified, participant)
    return {rank: participant for rank, (_, participant) in latest.items()}


def admit(store: Store, claim: Claim, chosen: Mapping[int, Participant], assignment: Mapping[str, Any]) -> None:
    """Begin the attempt: name the machines that take part, and what they have to know.

    Args:
        store: where the run lives.
        claim: the attempt.
        chosen: who takes part, by rank.
        assignment: the fields of `Admission` except ``token`` and ``nodes``, which are added.
    """
    record = {
        **assignment,
        "token": claim.token,
        "nodes": {str(rank): participant.nonce for rank, participant in chosen.items()},
    }
    create_ours(store, node_key(claim.run_id, claim.number, "go"), _json(record))


def read_admission(store: Store, participant: Participant) -> Admission | None:
    """What the head tells the machines of the attempt; None if it has not begun.

    Raises:
        NotAdmitted: it has begun without us.
        DamagedRecord: the record cannot be trusted.
    """
    admission = find_record(store, node_key(participant.run_id, participant.number, "go"), Admission)
    if admission is not None and admission["nodes"].get(str(participant.rank)) != participant.nonce:
        raise NotAdmitted(participant.number)
    return admission


def write_node_beat(store: Store, participant: Participant, count: int, *, busy: int = 0) -> None:
    """Say that the machine is alive, and whether it is at work; overwritten each time."""
    key = node_key(participant.run_id, participant.number, participant.name, "heartbeat")
    store.put(key, _json(NodeBeat(count=count, busy=busy) if busy else NodeBeat(count=count)))


def read_node_beat(store: Store, participant: Participant) -> NodeBeat | None:
    """What changes as long as the machine is alive; None before its first sign, and if that is damaged."""
    key = node_key(participant.run_id, participant.number, participant.name, "heartbeat")
    return find_hint(store, key, NodeBeat)


def write_node_end(store: Store, participant: Participant, record: Mapping[str, Any]) -> None:
    """Write how it went on the machine: the fields of `NodeEnded`; ``nonce`` is added."""
    key = node_key(participant.run_id, participant.number, participant.name, "ended")
    create_ours(store, key, _json({**record, "nonce": participant.nonce}))


def read_node_end(store: Store, participant: Participant) -> NodeEnded | None:
    """How it went on the machine; None if it has not said, or not in a way that can be read.

    A machine whose record is damaged falls silent, and its silence ends the attempt.
    """
    key = node_key(participant.run_id, participant.number, participant.name, "ended")
    return find_hint(store, key, NodeEnded)


def read_head_end(store: Store, run_id: str, number: int) -> AttemptEnded | None:
    """How an attempt ended; None if its head has not said, or not in a way that can be read."""
    return find_hint(store, attempt_key(run_id, number, "ended"), AttemptEnded)


def _json(record: Mapping[str, Any]) -> bytes:
    return canonical_json(dict(record)) + b"\n"
