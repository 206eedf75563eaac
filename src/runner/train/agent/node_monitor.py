"""The other machines of an attempt, as its head sees them: wait for them, begin, and notice when one is gone."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from runner.exit_codes import INTERRUPTED
from runner.runs.attempts import Claim
from runner.runs.record_types.node import NodeEnded
from runner.runs.rendezvous import Participant, admit, participants, read_node_beat, read_node_end
from runner.storage.retry import STORE_ERRORS
from runner.storage.store import Store
from runner.train.agent.topology import Topology

SILENCE_SECONDS = 120.0
"""A machine that is not heard of for so long is gone. The store must have answered us in that time."""


class StallDetector:
    """Notices when something that should change no longer does. A look that fails says nothing."""

    def __init__(self) -> None:
        self._last: Any = None
        self._silent_seconds = 0.0
        self._looked_at = time.monotonic()

    def look(self, read: Callable[[], Any]) -> bool:
        """Look once more; whether all has been silent for too long."""
        now, before = time.monotonic(), self._looked_at
        self._looked_at = now
        try:
            found = read()
        except STORE_ERRORS:
            return False
        if found != self._last:
            self._last, self._silent_seconds = found, 0.0
        else:
            # In small coins: a laptop that slept, or a store that was away, counts for little.
            self._silent_seconds += min(now - before, 10.0)
        return self._silent_seconds > SILENCE_SECONDS


class NodeMonitor:
    """What the head knows of the others.

    Args:
        store: where the run lives.
        claim: the attempt.
        topology: of the head.
    """

    def __init__(self, store: Store, claim: Claim, topology: Topology) -> None:
        self._store = store
        self._claim = claim
        self._wanted = set(range(1, topology.num_nodes))
        self._participants: dict[int, Participant] = {}
        self._vigils = {rank: StallDetector() for rank in self._wanted}
        self.ended: dict[int, NodeEnded] = {}
        """How it went on each machine that has said so."""
        self.missing: list[int] = []
        """Machines that were not heard of any more."""

    def missing_nodes(self) -> list[int]:
        """Which have not come yet."""
        if not self._wanted:
            return []
        try:
            self._participants = participants(self._store, self._claim)
        except STORE_ERRORS:
            return sorted(self._wanted)
        return sorted(self._wanted - self._participants.keys())

    def begin(self, told: Mapping[str, Any]) -> None:
        """Begin with those who came."""
        if self._wanted:
            self._participants = {rank: self._participants[rank] for rank in self._wanted}
            admit(self._store, self._claim, self._participants, told)

    def look(self) -> None:
        """See how they are."""
        for rank, participant in self._participants.items():
            if rank in self.ended or rank in self.missing:
                continue
            try:
                end = read_node_end(self._store, participant)
            except STORE_ERRORS:
                continue
            if end is not None:
                self.ended[rank] = end
            elif self._vigils[rank].look(lambda participant=participant: read_node_beat(self._store, participant)):  # type: ignore[misc]
                self.missing.append(rank)

    @property
    def any_failed(self) -> bool:
        """Whether one of them is gone, or has ended otherwise than by having done its part."""
        return bool(self.missing) or any(end["exit_code"] for end in self.ended.values())

    @property
    def told_to_stop(self) -> bool:
        """Whether one that has ended was told to, and nothing worse happened on any."""
        codes = {end["exit_code"] for end in self.ended.values()}
        return not self.missing and codes <= {0, INTERRUPTED}

    @property
    def all_ended(self) -> bool:
        """Whether nothing more will be heard."""
        return self._participants.keys() <= self.ended.keys() | set(self.missing)

    def ends(self) -> list[dict[str, Any]]:
        """How the training processes on other machines ended, for `runner.train.agent.outcome`."""
        return [{**end} for record in self.ended.values() for end in record["ends"]]
