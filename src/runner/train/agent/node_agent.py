"""One attempt on a machine that is not the head: join what the head has claimed, train along, end with it.

The head decides everything: which attempt it is, which checkpoint it goes on from, how it ended. This machine exits
with the head's exit code.
"""

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from runner.exit_codes import INTERRUPTED
from runner.runs.attempts import newest_number, read_heartbeat
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.record_types.attempt import AttemptEnded
from runner.runs.record_types.node import Admission
from runner.runs.record_types.result import Result
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
from runner.storage.retry import STORE_ERRORS, STORE_PATIENCE_SECONDS, after, retry_store_call, retrying
from runner.storage.store import Store, StoreUnavailable
from runner.train.agent.node_monitor import StallDetector
from runner.train.agent.topology import Topology
from runner.train.agent.worker_group import PEER_SECONDS, UPLOAD_SECONDS, Process, WorkerGroup

BEAT_SECONDS = 2.0
LOOK_SECONDS = 1.0
HEAD_PATIENCE_SECONDS = 1800.0
"""How long to wait for the head to claim an attempt and to begin it: its machine may come up later, and load images."""
_TAIL_LINES = 40


class HeadEnded(Exception):
    """The head has ended its attempt before it began with us.

    Args:
        end: its record.
    """

    def __init__(self, end: AttemptEnded) -> None:
        self.end = end
        super().__init__(str(end.get("reason")))


class NodeAgent:
    """From waiting for the head to the end of its attempt.

    Args:
        store: where the run lives.
        run_id: which run.
        work_dir: a folder on this machine that all attempts of the run share.
        topology: this machine's.
        spawn: starts a training process, as `WorkerGroup` asks for it.
        arguments: what each training process is told on its command line.
        result: reads the run's result; None as long as there is none.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        work_dir: Path,
        topology: Topology,
        *,
        spawn: Callable[[Sequence[str], int], Process],
        arguments: Sequence[str],
        result: Callable[[], Result | None],
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._work_dir = work_dir
        self._topology = topology
        self._spawn = spawn
        self._arguments = arguments
        self._result = result
        self._stopping = False
        self._workers: WorkerGroup | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._passed = 0

    def run(self) -> int:
        """Take part in the head's attempts until one is the last; returns the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        (self._work_dir / "shared").mkdir(parents=True, exist_ok=True)
        while True:
            code = self._one_attempt()
            if code is not None:
                return code

    def _one_attempt(self) -> int | None:
        """Take part once; the exit code, or None if the head goes on with another attempt."""
        for folder in self._work_dir.glob("attempt-*"):
            shutil.rmtree(folder, ignore_errors=True)
        workers = WorkerGroup(
            self._topology.processes_per_node,
            spawn=self._spawn,
            say=self._write,
            on_progress=lambda event: None,
            first_rank=self._topology.node_rank * self._topology.processes_per_node,
        )
        self._workers = workers
        workers.start(self._arguments)
        participant: Participant | None = None
        gone = threading.Event()
        try:
            participant, told = self._invited(gone)
            self._passed = participant.number
            workers.assign(self._assignment(told))
            self._watch(workers, participant)
        except (StoreUnavailable, OSError, TimeoutError) as error:
            print(f"machine {self._topology.node_rank} of {self._topology.num_nodes}: {error}", file=sys.stderr)
        except HeadEnded as error:
            return self._code_after(error.end)
        except NotAdmitted as error:
            print(f"machine {self._topology.node_rank} of {self._topology.num_nodes}: {error}", file=sys.stderr)
            self._passed = error.number  # and not the newest, which may be the one that waits for us
            return None if not self._stopping else INTERRUPTED
        finally:
            gone.set()
            workers.end(terminate_first=False, grace_seconds=PEER_SECONDS)
        if participant is None:
            result = self._result()
            return INTERRUPTED if result is None else int(result["state"] != "succeeded")
        return self._end(workers, participant)

    # -- beginning -----------------------------------------------------------------------------------------------

    def _invited(self, gone: threading.Event) -> tuple[Participant, Admission]:
        """Ask to take part in the newest attempt, again for each newer one, until one begins with us.

        Raises:
            TimeoutError: none did, or we are to stop.
            NotInvited: one began with another machine in our place.
            HeadEnded: the one that we asked has ended.
        """
        participant: Participant | None = None
        until = time.monotonic() + HEAD_PATIENCE_SECONDS
        while time.monotonic() < until and not self._stopping:
            newest = retrying(lambda: newest_number(self._store, self._run_id), until=after(STORE_PATIENCE_SECONDS))
            if newest > self._passed and (participant is None or newest > participant.number):
                if read_head_end(self._store, self._run_id, newest) is None:
                    participant = join(self._store, self._run_id, newest, self._topology.node_rank, self._who())
                    threading.Thread(target=self._beat, args=(participant, gone), name="beat", daemon=True).start()
                else:
                    self._passed = newest
            if participant is not None:
                told = read_admission(self._store, participant)
                if told is not None:
                    return participant, told
                end = read_head_end(self._store, self._run_id, participant.number)
                if end is not None:
                    self._passed = participant.number
                    raise HeadEnded(end)
            if participant is None and self._result() is not None:
                raise TimeoutError("the run has ended")
            time.sleep(LOOK_SECONDS)
        raise TimeoutError("told to stop" if self._stopping else "the head began no attempt with this machine")

    def _who(self) -> dict[str, Any]:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return {"host": socket.gethostname(), "pid": os.getpid(), "started_at": at}

    def _assignment(self, told: Admission) -> dict[str, Any]:
        """What the training processes are told: the head's words, and the checkpoint's place on this machine."""
        folder = None
        checkpoint = told.get("checkpoint")
        if checkpoint is not None:
            name = CheckpointName.parse(checkpoint)
            assert name is not None
            folder = self._work_dir / f"attempt-{told['token']}" / "restored" / str(name)
            folder.parent.mkdir(parents=True, exist_ok=True)
            retrying(
                lambda: fetch(self._store, checkpoint_prefix(self._run_id, name), folder),
                until=after(STORE_PATIENCE_SECONDS),
            )
        return {**told.get("assignment", {}), "checkpoint": None if folder is None else str(folder)}

    # -- while it lives ------------------------------------------------------------------------------------------

    def _beat(self, participant: Participant, gone: threading.Event) -> None:
        count = 0
        while not gone.wait(BEAT_SECONDS):
            count += 1
            try:
                write_node_beat(self._store, participant, count)
            except STORE_ERRORS:
                continue

    def _watch(self, workers: WorkerGroup, participant: Participant) -> None:
        vigil = StallDetector()
        while not workers.wait(BEAT_SECONDS):
            if self._head_has_ended(participant):
                workers.hurry(0)
            elif vigil.look(lambda: read_heartbeat(self._store, self._run_id, participant.number)):
                self._write("warning: the head was not heard of any more\n")
                workers.hurry(0)

    def _head_has_ended(self, participant: Participant) -> bool:
        try:
            if read_head_end(self._store, self._run_id, participant.number) is not None:
                return True
            return newest_number(self._store, self._run_id) > participant.number
        except STORE_ERRORS:
            return False

    def _write(self, text: str) -> None:
        self._tail.append(text)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            return  # nobody listens here

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if self._workers is not None:
            self._workers.send_signal(signal.SIGTERM)

    # -- end -----------------------------------------------------------------------------------------------------

    def _end(self, workers: WorkerGroup, participant: Participant) -> int | None:
        """Say how it went here, and hear from the head how it went in all."""
        ends = workers.ends()
        worst = next((end["code"] for end in ends if end["code"] not in (0, INTERRUPTED)), None)
        code = worst if worst is not None else max(end["code"] for end in ends)
        record = {"exit_code": code, "ends": ends, "last_lines": list(self._tail), "host": socket.gethostname()}
        try:
            retry_store_call(
                lambda: write_node_end(self._store, participant, record), until=after(STORE_PATIENCE_SECONDS)
            )
        except StoreUnavailable as error:
            print(f"the store does not answer: {error}", file=sys.stderr)
            return INTERRUPTED
        vigil = StallDetector()
        # The head may still export and upload, or save the last checkpoint.
        patience = after(UPLOAD_SECONDS) if code else (lambda: False)
        while not patience():
            try:
                end = read_head_end(self._store, self._run_id, participant.number)
            except STORE_ERRORS:
                end = None
            if end is not None:
                return self._code_after(end)
            if vigil.look(lambda: read_heartbeat(self._store, self._run_id, participant.number)):
                break
            time.sleep(LOOK_SECONDS)
        return INTERRUPTED

    def _code_after(self, end: AttemptEnded) -> int | None:
        """The head's exit code; None if it goes on with another attempt."""
        return None if end.get("again") and not self._stopping else end.get("exit_code", INTERRUPTED)
