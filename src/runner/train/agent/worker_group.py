"""The training processes of one machine: started together, assigned together, ended together.

When one has died, the others are never left waiting for it in a collective operation: they are given a moment to report
what they saw, and killed.
"""

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from runner.exit_codes import INTERRUPTED
from runner.runs.record_types.node import NodeAssignment
from runner.train.agent.events import read_events
from runner.train.agent.hangs.activity import state_of
from runner.train.agent.hangs.stacks import SIGNAL as STACKS
from runner.train.agent.hangs.stacks import family, why_silent
from runner.train.agent.log import as_it_is
from runner.train.agent.outcome import Outcome, WorkerExit
from runner.train.agent.setup import Process, Spawn
from runner.train.agent.timing import Timing

_log = logging.getLogger(__name__)


class WorkerAssignment(NodeAssignment):
    """What one training process reads from its standard input, as one line of JSON."""

    checkpoint: str | None
    """The folder of the checkpoint to go on from, downloaded and verified; None: begin at the beginning."""
    rank: int
    """The process's rank among all."""


@dataclass(kw_only=True)
class Worker:
    """One training process."""

    process: Process
    outcome: Outcome | None = None
    """Its own account of how it ended; None if it has given none."""
    reported_at: float = 0.0
    """When it gave it, in seconds of the system's clock."""
    killed: bool = False
    """Whether the agent has ended it."""
    lines: int = 0
    """How many it has printed."""


LONGEST_LINE = 1 << 18
"""Bytes of a line that are kept."""


def bounded_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield a stream's lines; of one that is longer than `LONGEST_LINE`, its beginning and how much is left out."""
    while line := stream.readline(LONGEST_LINE):
        left_out = 0
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while rest := stream.readline(LONGEST_LINE):
                left_out += len(rest)
                if rest.endswith(b"\n"):
                    break
        yield line + (f" [{left_out:,} bytes of this line are left out]\n".encode() if left_out else b"")


class WorkerGroup:
    """The training processes of this machine.

    Args:
        size: how many.
        spawn: starts one.
        on_output: called with each line that they print.
        on_progress: called with the progress of the first process of all; with nothing when it has done a batch.
        on_notice: called with the level and the text of what the first process of all reports for the launching user.
        first_rank: the rank of this machine's first process.
        redact: hides secrets in what they print and report.
        timing: how long they may go on once one has ended.
    """

    def __init__(
        self,
        size: int,
        *,
        spawn: Spawn,
        on_output: Callable[[str], None],
        on_progress: Callable[[Mapping[str, Any]], None] = lambda progress: None,
        on_notice: Callable[[str, str], None] = lambda level, text: None,
        first_rank: int = 0,
        redact: Callable[[str], str] = as_it_is,
        timing: Timing,
    ) -> None:
        self._size = size
        self._spawn = spawn
        self._on_output = on_output
        self._on_progress = on_progress
        self._on_notice = on_notice
        self._first_rank = first_rank
        self._redact = redact
        self._timing = timing
        self._workers: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._deadline: float | None = None

    def start(self, arguments: Sequence[str]) -> None:
        """Start all of them, each with its rank on this machine."""
        for index in range(self._size):
            read_end, write_end = os.pipe()
            process = self._spawn([*arguments, "--local-rank", str(index), "--events", str(write_end)], write_end)
            os.close(write_end)
            worker = Worker(process=process)
            self._workers.append(worker)
            self._follow(worker, self._first_rank + index, read_end)

    def assign(self, assignment: Mapping[str, Any], *, checkpoint: str | None) -> None:
        """Tell each of them what to do.

        Args:
            assignment: a `NodeAssignment`; what a newer head has added to it is passed on.
            checkpoint: the folder of the checkpoint to go on from; None: begin at the beginning.
        """
        for index, worker in enumerate(self._workers):
            rank = self._first_rank + index
            message: WorkerAssignment = {**assignment, "checkpoint": checkpoint, "rank": rank}  # type: ignore[typeddict-item]
            try:
                worker.process.stdin.write(json.dumps(message).encode() + b"\n")
                worker.process.stdin.close()
            except BrokenPipeError:
                continue  # it has died; its exit code says why

    def send_signal(self, number: int) -> None:
        """Send the signal to every worker that is still running."""
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    def send_signal_to_first(self, number: int) -> None:
        """Send the signal to the first worker, if it is still running."""
        process = self._workers[0].process
        if process.poll() is None:
            process.send_signal(number)

    @property
    def is_over(self) -> bool:
        """Whether all have ended, or those that have not are out of time because one has."""
        codes = [worker.process.poll() for worker in self._workers]
        if None not in codes:
            return True
        ended = [code for code in codes if code is not None]
        if any(code not in (0, INTERRUPTED) for code in ended):
            self.hurry(self._timing.peer)
        elif INTERRUPTED in ended or codes[0] == 0:
            self.hurry(self._timing.upload)
        return self._deadline is not None and time.monotonic() > self._deadline

    def hurry(self, seconds: float) -> None:
        """Let them go on for at most so long."""
        deadline = time.monotonic() + seconds
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def wait(self, seconds: float) -> bool:
        """Wait until `is_over`, for at most so long; return whether it is."""
        until = time.monotonic() + seconds
        while not self.is_over:
            if time.monotonic() >= until:
                return False
            time.sleep(self._timing.poll)
        return True

    def end(self, *, terminate_first: bool, grace_seconds: float) -> None:
        """Stop the workers that still run, and read the rest of what all have printed and reported.

        Args:
            terminate_first: send SIGTERM, and SIGKILL only to those that run on after the grace.
            grace_seconds: how long they may take to end.
        """
        running = [worker for worker in self._workers if worker.process.poll() is None]
        for worker in running:
            worker.killed = True
            worker.process.send_signal(signal.SIGTERM if terminate_first else signal.SIGKILL)
        until = time.monotonic() + grace_seconds
        for worker in running:
            try:
                worker.process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
        until = time.monotonic() + self._timing.kill
        for worker in running:
            try:
                worker.process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("process %d was killed and does not end: it waits in the kernel", worker.process.pid)
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def pids(self) -> list[int]:
        """The processes that still run."""
        return [worker.process.pid for worker in self._workers if worker.process.poll() is None]

    def print_stacks(self) -> None:
        """Have each process that still runs print the stacks of all its threads, one process after the other."""
        for index, worker in enumerate(self._workers):
            if worker.process.poll() is not None:
                continue
            rank, pid = self._first_rank + index, worker.process.pid
            self._on_output(f"stacks of training process {rank} (process id {pid}):\n")
            lines = worker.lines
            asked = family(pid)
            for member in asked:
                with suppress(OSError):
                    os.kill(member, STACKS)
            until = time.monotonic() + self._timing.stacks
            while pid in asked and worker.lines == lines and time.monotonic() < until:
                time.sleep(self._timing.poll)
            if worker.lines == lines:
                self._on_output(f"  none: {why_silent(state_of(pid))}\n")
                continue
            seen = lines
            while worker.lines != seen and time.monotonic() < until:  # until it falls silent
                seen = worker.lines
                time.sleep(min(0.3, self._timing.stacks))

    def ends(self) -> list[WorkerExit]:
        """Return how each has ended. Call it after `end`; one that could not be ended counts as killed."""
        return [
            WorkerExit(
                rank=self._first_rank + index,
                code=_exit_code(worker.process),
                killed=worker.killed,
                outcome=worker.outcome,
                reported_at=worker.reported_at,
            )
            for index, worker in enumerate(self._workers)
        ]

    def _follow(self, worker: Worker, rank: int, events: int) -> None:
        """Read what a worker prints and reports, each in a thread."""
        prefix = "" if rank == 0 else f"[rank {rank}] "

        def pass_output_on() -> None:
            for line in bounded_lines(worker.process.stdout):
                worker.lines += 1
                self._on_output(prefix + self._redact(line.decode(errors="replace")))

        def on_event(event: dict[str, Any]) -> None:
            kind = event.pop("kind")
            if kind == "outcome":
                outcome = Outcome.from_record(event)
                if outcome.reason is not None:
                    outcome = replace(outcome, reason=self._redact(outcome.reason))
                worker.outcome, worker.reported_at = outcome, time.time()
            elif rank == 0 and kind == "notice":
                self._on_notice(event["level"], self._redact(event["text"]))
            elif rank == 0:
                self._on_progress(event)  # of kind ``alive``: without any field

        self._threads += [
            threading.Thread(target=pass_output_on, name=f"log-{rank}", daemon=True),
            threading.Thread(target=read_events, args=(events, on_event), name=f"events-{rank}", daemon=True),
        ]
        for thread in self._threads[-2:]:
            thread.start()


def _exit_code(process: Process) -> int:
    code = process.poll()
    return -signal.SIGKILL if code is None else code
