"""The agent on a machine that is not the head: take part in the head's attempts.

The head decides everything: which attempt it is, which checkpoint it goes on from, how it ended. This machine exits
with the head's exit code.
"""

import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from runner.exit_codes import INTERRUPTED
from runner.runs.attempts import newest_number, read_heartbeat
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.record_types.attempt import AttemptEnded, Heartbeat
from runner.runs.record_types.node import Admission
from runner.runs.record_types.result import Result
from runner.runs.records import utc_now
from runner.runs.rendezvous import (
    NotAdmitted,
    Participant,
    join,
    read_admission,
    read_head_end,
    write_node_beat,
    write_node_end,
)
from runner.storage.commit import fetch
from runner.storage.retry import STORE_ERRORS, after, retry_store_call, retrying
from runner.storage.store import StoreUnavailable
from runner.train.agent.hangs.activity import ActivityMeter
from runner.train.agent.machine.sampler import sampled
from runner.train.agent.nodes.node_monitor import StallDetector
from runner.train.agent.outcome import NodeExit
from runner.train.agent.restore import restore_extended
from runner.train.agent.setup import AgentSetup
from runner.train.agent.worker_group import WorkerGroup

_log = logging.getLogger(__name__)

_TAIL_LINES = 40
_MOST_STACK_LINES = 2000
"""Of which the head's log gets the end, when training hangs."""

R = TypeVar("R")


class HeadEnded(Exception):
    """The head has ended its attempt before it began with this machine.

    Args:
        record: how the attempt ended (``<number>.ended.json``).
    """

    def __init__(self, record: AttemptEnded) -> None:
        self.record = record
        super().__init__(str(record.get("reason")))


class NotJoined(Exception):
    """No attempt began with this machine, and none will."""


class NodeAttempt:
    """One attempt, on a machine that is not the head. Use it once.

    Args:
        setup: the run, this machine, and how to start workers.
        passed: the number of the newest attempt that is over for this machine.
        result: reads the run's result; None as long as there is none.
        stopping: whether the agent was told to stop.
    """

    def __init__(
        self,
        setup: AgentSetup,
        *,
        passed: int,
        result: Callable[[], Result | None],
        stopping: Callable[[], bool],
    ) -> None:
        self._setup = setup
        self._timing = setup.timing
        self._store = setup.store
        self._result = result
        self._stopping = stopping
        self.passed = passed
        """The number of the newest attempt that is over for this machine, after `run`."""
        self._last_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._over = threading.Event()
        self._workers = WorkerGroup(
            setup.topology.processes_per_node,
            spawn=setup.spawn,
            on_output=self._pass_output_on,
            redact=setup.redact,
            first_rank=setup.topology.node_rank * setup.topology.processes_per_node,
            timing=self._timing,
        )
        self._activity = ActivityMeter(lambda: self._workers.pids, every_seconds=self._timing.activity)
        self._hang: str | None = None

    def run(self) -> int | None:
        """Take part; return the exit code, or None if the head goes on with another attempt."""
        name = f"machine {self._setup.topology.node_rank} of {self._setup.topology.num_nodes}"
        participant: Participant | None = None
        self._workers.start(self._setup.arguments)
        if self._stopping():
            self.stop()
        try:
            participant, admission = self._admitted()
            self.passed = participant.number
            rank, folder = self._setup.topology.node_rank, self._setup.work_dir
            with sampled(self._store, self._setup.run_id, admission["token"], node=rank, folder=folder):
                self._workers.assign(admission.get("assignment", {}), checkpoint=self._fetch_checkpoint(admission))
                self._watch(participant)
        except (StoreUnavailable, OSError, NotJoined) as error:
            _log.warning("%s: %s", name, error)
        except HeadEnded as error:
            return self._code_after(error.record)
        except NotAdmitted as error:
            _log.warning("%s: %s", name, error)
            self.passed = error.number  # and not the newest, which may be the one that waits for this machine
            return INTERRUPTED if self._stopping() else None
        finally:
            self._over.set()
            self._workers.end(terminate_first=False, grace_seconds=self._timing.peer)
        if participant is None:
            result = self._result()
            return INTERRUPTED if result is None else int(result["state"] != "succeeded")
        return self._end(participant)

    def stop(self) -> None:
        """Tell the workers to save a checkpoint and end."""
        self._workers.send_signal(signal.SIGTERM)

    def _admitted(self) -> tuple[Participant, Admission]:
        """Ask to take part in the newest attempt, again for each newer one, until one begins with this machine.

        Raises:
            NotJoined: none did in time, the run has ended, or the agent was told to stop.
            NotAdmitted: one began with another machine in this one's place.
            HeadEnded: the attempt that we asked to take part in has ended.
        """
        participant: Participant | None = None
        until = time.monotonic() + self._timing.join
        run_id = self._setup.run_id
        while time.monotonic() < until and not self._stopping():
            newest = self._patiently(lambda: newest_number(self._store, run_id))
            if newest > self.passed and (participant is None or newest > participant.number):
                if read_head_end(self._store, run_id, newest) is None:
                    participant = self._join(newest)
                else:
                    self.passed = newest
            if participant is not None:
                admission = read_admission(self._store, participant)
                if admission is not None:
                    return participant, admission
                head_end = read_head_end(self._store, run_id, participant.number)
                if head_end is not None:
                    self.passed = participant.number
                    raise HeadEnded(head_end)
            elif self._result() is not None:
                raise NotJoined("the run has ended")
            time.sleep(self._timing.look)
        raise NotJoined("stopped by SIGTERM" if self._stopping() else "the head began no attempt with this machine")

    def _join(self, number: int) -> Participant:
        record = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": utc_now()}
        rank = self._setup.topology.node_rank
        participant = join(self._store, self._setup.run_id, number, rank, record)
        threading.Thread(target=self._beat, args=(participant,), name="beat", daemon=True).start()
        return participant

    def _beat(self, participant: Participant) -> None:
        count = 0
        while not self._over.wait(self._timing.beat):
            count += 1
            try:
                write_node_beat(self._store, participant, count, busy=self._activity.count)
            except STORE_ERRORS:
                continue

    def _fetch_checkpoint(self, admission: Admission) -> str | None:
        """Download the checkpoint that the head has chosen; return its folder on this machine."""
        checkpoint = admission.get("checkpoint")
        name = None if checkpoint is None else CheckpointName.parse(checkpoint)
        if name is None:
            into = self._setup.work_dir / f"attempt-{admission['token']}" / "restored"
            extended = self._patiently(lambda: restore_extended(self._store, self._setup.run_id, into))
            return None if extended is None else str(extended[1])
        folder = self._setup.work_dir / f"attempt-{admission['token']}" / "restored" / str(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._patiently(lambda: fetch(self._store, checkpoint_prefix(self._setup.run_id, name), folder))
        return str(folder)

    def _watch(self, participant: Participant) -> None:
        """Return when the workers have ended, or must because the head's attempt is over."""
        head = StallDetector(self._timing.silence)
        while not self._workers.wait(self._timing.beat):
            self._activity.look()
            if self._head_has_ended(participant):
                self._workers.hurry(0)
            elif self._hang is not None:
                _log.warning("the head says: %s; the stacks of all threads here follow", self._hang)
                self._last_lines = deque(self._last_lines, maxlen=_MOST_STACK_LINES)
                self._workers.print_stacks()
                self._workers.hurry(0)
            elif head.look(lambda: self._read_head(participant)):
                _log.warning("the head's heartbeats have stopped")
                self._workers.hurry(0)

    def _read_head(self, participant: Participant) -> Heartbeat | None:
        beat = read_heartbeat(self._store, self._setup.run_id, participant.number)
        self._hang = None if beat is None else beat.get("hang")
        return beat

    def _head_has_ended(self, participant: Participant) -> bool:
        try:
            if read_head_end(self._store, self._setup.run_id, participant.number) is not None:
                return True
            return newest_number(self._store, self._setup.run_id) > participant.number
        except STORE_ERRORS:
            return False

    def _pass_output_on(self, text: str) -> None:
        """Print what a worker has printed, and keep the end of it for the head."""
        self._last_lines.append(text)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            return  # the reader has gone

    def _end(self, participant: Participant) -> int | None:
        """Report how it went here; return what follows from how it went in all."""
        ends = self._workers.ends()
        worst = next((end.code for end in ends if end.code not in (0, INTERRUPTED)), None)
        code = worst if worst is not None else max(end.code for end in ends)
        end = NodeExit(exit_code=code, ends=ends, last_lines=list(self._last_lines), host=socket.gethostname())
        try:
            retry_store_call(
                lambda: write_node_end(self._store, participant, end.to_record()), until=after(self._timing.store)
            )
        except StoreUnavailable as error:
            _log.error("the store does not answer: %s", error)
            return INTERRUPTED
        head = StallDetector(self._timing.silence)
        # After success the head may still export and upload for hours; else it saves the last checkpoint at most.
        out_of_time = after(self._timing.upload) if code else (lambda: False)
        while not out_of_time():
            try:
                head_end = read_head_end(self._store, self._setup.run_id, participant.number)
            except STORE_ERRORS:
                head_end = None
            if head_end is not None:
                return self._code_after(head_end)
            if head.look(lambda: read_heartbeat(self._store, self._setup.run_id, participant.number)):
                break
            time.sleep(self._timing.look)
        return INTERRUPTED

    def _code_after(self, head_end: AttemptEnded) -> int | None:
        """Return the head's exit code; None if it goes on with another attempt."""
        return None if head_end.get("again") and not self._stopping() else head_end.get("exit_code", INTERRUPTED)

    def _patiently(self, call: Callable[[], R]) -> R:
        return retrying(call, until=after(self._timing.store))


class NodeAgent:
    """Takes part in the head's attempts until one is the last.

    Args:
        setup: the run, this machine, and how to start workers.
        result: reads the run's result; None as long as there is none.
    """

    def __init__(self, setup: AgentSetup, *, result: Callable[[], Result | None]) -> None:
        self._setup = setup
        self._result = result
        self._stopping = False
        self._attempt: NodeAttempt | None = None

    def run(self) -> int:
        """Take part; return the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        (self._setup.work_dir / "shared").mkdir(parents=True, exist_ok=True)
        passed = 0
        while True:
            for folder in self._setup.work_dir.glob("attempt-*"):
                shutil.rmtree(folder, ignore_errors=True)
            self._attempt = NodeAttempt(
                self._setup, passed=passed, result=self._result, stopping=lambda: self._stopping
            )
            exit_code = self._attempt.run()
            if exit_code is not None:
                return exit_code
            passed = self._attempt.passed

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if self._attempt is not None:
            self._attempt.stop()
