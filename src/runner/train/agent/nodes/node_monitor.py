"""The other nodes of an attempt, as its head sees them: wait for them, begin, and notice when one is lost."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from runner.exit_codes import INTERRUPTED
from runner.runs.attempts import Claim
from runner.runs.rendezvous import Participant, admit, participants, read_node_beat, read_node_end
from runner.storage.retry import STORE_ERRORS
from runner.storage.store import Store
from runner.train.agent.nodes.topology import Topology
from runner.train.agent.outcome import NodeExit, WorkerExit

_LONGEST_GAP_SECONDS = 10.0


class StallDetector:
    """Notices when something that should change no longer does.

    Args:
        silence_seconds: how long it may stay the same.
    """

    def __init__(self, silence_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._last: Any = None
        self._silent_seconds = 0.0
        self._looked_at = time.monotonic()

    def look(self, read: Callable[[], Any]) -> bool:
        """Read the value again; return whether it has stayed the same for too long. A failed read does not count."""
        now, before = time.monotonic(), self._looked_at
        self._looked_at = now
        try:
            value = read()
        except STORE_ERRORS:
            return False
        if value != self._last:
            self._last, self._silent_seconds = value, 0.0
        else:
            # A suspended laptop, or a store that did not answer for an hour, must not count as an hour's silence.
            self._silent_seconds += min(now - before, _LONGEST_GAP_SECONDS)
        return self._silent_seconds > self._silence_seconds


class NodeMonitor:
    """What the head knows of the other nodes.

    Args:
        store: the store that holds the run.
        claim: the attempt.
        topology: of the head.
        silence_seconds: a node whose heartbeat has not changed for so long is lost.
    """

    def __init__(self, store: Store, claim: Claim, topology: Topology, *, silence_seconds: float) -> None:
        self._store = store
        self._claim = claim
        self._expected = set(range(1, topology.num_nodes))
        self._participants: dict[int, Participant] = {}
        self._stall_detectors = {rank: StallDetector(silence_seconds) for rank in self._expected}
        self._busy: dict[int, int] = {}
        self._any_busy = False
        self.ended: dict[int, NodeExit] = {}
        """How the attempt went on each node that has reported it."""
        self.lost: list[int] = []
        """Nodes whose heartbeats have stopped."""

    def missing_nodes(self) -> list[int]:
        """Return the nodes that have not joined yet."""
        if not self._expected:
            return []
        try:
            self._participants = participants(self._store, self._claim)
        except STORE_ERRORS:
            return sorted(self._expected)
        return sorted(self._expected - self._participants.keys())

    def begin(self, admission: Mapping[str, Any]) -> None:
        """Begin the attempt with the nodes that have joined, and tell them what to do."""
        if self._expected:
            self._participants = {rank: self._participants[rank] for rank in self._expected}
            admit(self._store, self._claim, self._participants, admission)

    def look(self) -> None:
        """Poll every node's heartbeat and end record."""
        for rank, participant in self._participants.items():
            if rank in self.ended or rank in self.lost:
                continue
            try:
                record = read_node_end(self._store, participant)
                end = None if record is None else NodeExit.from_record(record)
            except STORE_ERRORS:
                continue
            except ValueError:
                end = None  # not what our agent writes; the node's silence will tell
            if end is not None:
                self.ended[rank] = end
            elif self._stall_detectors[rank].look(lambda rank=rank: self._read_beat(rank)):  # type: ignore[misc]
                self.lost.append(rank)

    def any_busy(self) -> bool:
        """Whether a node has been at work since the last call."""
        busy, self._any_busy = self._any_busy, False
        return busy

    def _read_beat(self, rank: int) -> Any:
        beat = read_node_beat(self._store, self._participants[rank])
        busy = 0 if beat is None else beat.get("busy", 0)
        self._any_busy |= busy != self._busy.get(rank, 0)
        self._busy[rank] = busy
        return beat

    @property
    def any_failed(self) -> bool:
        """Whether a node is lost, or has ended before its part was done."""
        return bool(self.lost) or any(end.exit_code for end in self.ended.values())

    @property
    def only_stopped(self) -> bool:
        """Whether every node that has ended was told to stop or was done, and none is lost."""
        return not self.lost and {end.exit_code for end in self.ended.values()} <= {0, INTERRUPTED}

    @property
    def all_ended(self) -> bool:
        """Whether no node will report anything more."""
        return self._participants.keys() <= self.ended.keys() | set(self.lost)

    def worker_ends(self) -> list[WorkerExit]:
        """Return how the training processes on the other nodes ended."""
        return [worker for node in self.ended.values() for worker in node.ends]
