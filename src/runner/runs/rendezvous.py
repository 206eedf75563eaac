"""How the machines of one attempt find each other: through the store, in three steps.

The head claims the attempt, as ever. Each other machine writes down that it wants to take part, under a word (nonce)
that it has just made up. When all are there the head writes ``go``, which names these words: so a machine knows that
the attempt it has found is alive and means it. An attempt left behind by an earlier launch never answers, and
SkyPilot's own id of the launch stays the same when a managed job is recovered: nothing less tells the two apart.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.runs.attempts import Claim
from runner.runs.layout import attempt_key, new_nonce, node_key, run_key
from runner.storage.manifest import canonical_json
from runner.storage.store import NotFound, Store, create_ours

_NODE = re.compile(r"(?P<rank>\d+)-(?P<nonce>[0-9a-z]{6})\.json")
_CLAIM = re.compile(r"(\d{4,})\.json")


class NotAdmitted(Exception):
    """An attempt has begun with another machine in our place, or was begun before we came.

    Args:
        number: of that attempt.
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


def newest_number(store: Store, run_id: str) -> int:
    """The number of the newest attempt; 0 if there is none."""
    prefix = run_key(run_id, "attempts/")
    found = (_CLAIM.fullmatch(info.key.removeprefix(prefix)) for info in store.objects(prefix))
    return max((int(match[1]) for match in found if match), default=0)


def join(store: Store, run_id: str, number: int, rank: int, record: Mapping[str, Any]) -> Participant:
    """Say that the machine of this rank wants to take part.

    Args:
        store: where the run lives.
        run_id: which run.
        number: which attempt of it.
        rank: the machine's, from 1.
        record: who it is (host, process, time).
    """
    participant = Participant(run_id, number, rank, new_nonce(6))
    create_ours(
        store, node_key(run_id, number, participant.name), _json({**record, "rank": rank, "nonce": participant.nonce})
    )
    return participant


def participants(store: Store, claim: Claim) -> dict[int, Participant]:
    """Who has come so far, by rank: of two of one rank (the older has died) the one that came last."""
    prefix = run_key(claim.run_id, f"attempts/{claim.number:04d}/")
    found: dict[int, tuple[datetime, Participant]] = {}
    for info in store.objects(prefix):
        match = _NODE.fullmatch(info.key.removeprefix(prefix))
        if match is None:
            continue
        participant = Participant(claim.run_id, claim.number, int(match["rank"]), match["nonce"])
        if participant.rank not in found or found[participant.rank][0] <= info.last_modified:
            found[participant.rank] = (info.last_modified, participant)
    return {rank: participant for rank, (_, participant) in found.items()}


def admit(store: Store, claim: Claim, chosen: Mapping[int, Participant], assignment: Mapping[str, Any]) -> None:
    """Begin: name the machines that take part, and tell them what they have to know."""
    record = {
        **assignment,
        "token": claim.token,
        "nodes": {str(rank): participant.nonce for rank, participant in chosen.items()},
    }
    create_ours(store, node_key(claim.run_id, claim.number, "go"), _json(record))


def read_admission(store: Store, participant: Participant) -> dict[str, Any] | None:
    """What the head tells; None if it has not begun.

    Raises:
        NotInvited: it has begun without us.
    """
    try:
        admission: dict[str, Any] = json.loads(store.get(node_key(participant.run_id, participant.number, "go")))
    except NotFound:
        return None
    if admission["nodes"].get(str(participant.rank)) != participant.nonce:
        raise NotAdmitted(participant.number)
    return admission


def write_node_beat(store: Store, participant: Participant, count: int) -> None:
    """Say that the machine lives; overwritten each time."""
    store.put(node_key(participant.run_id, participant.number, participant.name, "heartbeat"), _json({"count": count}))


def read_node_beat(store: Store, participant: Participant) -> Any:
    """What changes as long as the machine lives; None before its first sign."""
    return _read(store, node_key(participant.run_id, participant.number, participant.name, "heartbeat"))


def write_node_end(store: Store, participant: Participant, record: Mapping[str, Any]) -> None:
    """Say how it went on the machine."""
    create_ours(
        store,
        node_key(participant.run_id, participant.number, participant.name, "ended"),
        _json({**record, "nonce": participant.nonce}),
    )


def read_node_end(store: Store, participant: Participant) -> dict[str, Any] | None:
    """How it went on the machine; None if it has not said."""
    record: dict[str, Any] | None = _read(
        store, node_key(participant.run_id, participant.number, participant.name, "ended")
    )
    return record


def read_head_end(store: Store, run_id: str, number: int) -> dict[str, Any] | None:
    """How an attempt ended; None if its head has not said."""
    record: dict[str, Any] | None = _read(store, attempt_key(run_id, number, "ended"))
    return record


def _read(store: Store, key: str) -> Any:
    try:
        return json.loads(store.get(key))
    except NotFound:
        return None


def _json(record: Mapping[str, Any]) -> bytes:
    return canonical_json(dict(record)) + b"\n"
