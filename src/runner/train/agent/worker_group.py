"""The training processes of one machine: started together, told together, ended together.

One that has died never leaves the others waiting for it in a collective operation: they are given a moment to say what
they saw, and killed.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runner.exit_codes import INTERRUPTED
from runner.train.agent.events import read_events

PEER_SECONDS = 10.0
"""How long the others may go on once one has failed: its error reaches them over the network, and they say so."""
UPLOAD_SECONDS = 60.0
"""How long the others may go on once one was told to stop: the first uploads the last checkpoint."""
_POLL_SECONDS = 0.05


class Process(Protocol):
    """What is needed of `subprocess.Popen`."""

    stdin: Any
    stdout: Any

    def poll(self) -> int | None:
        """Its exit code; None while it lives."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def send_signal(self, number: int) -> None:
        """Hit it."""

    def kill(self) -> None:
        """End it."""


@dataclass(kw_only=True)
class Worker:
    """One training process."""

    process: Process
    outcome: dict[str, Any] | None = None
    """How it says that it went; None: it has not said."""
    said_at: float = 0.0
    """When it said so, in seconds of the system's clock."""
    killed: bool = False
    """Whether we have ended it."""


class WorkerGroup:
    """The training processes of this machine.

    Args:
        size: how many.
        spawn: starts one with these arguments, its standard input and output piped, and a file descriptor left open.
        say: takes what they print.
        on_progress: takes what the first of the whole run tells.
        first_rank: the rank of this machine's first process.
    """

    def __init__(
        self,
        size: int,
        *,
        spawn: Callable[[Sequence[str], int], Process],
        say: Callable[[str], None],
        on_progress: Callable[[dict[str, Any]], None],
        first_rank: int = 0,
    ) -> None:
        self._size = size
        self._spawn = spawn
        self._say = say
        self._on_progress = on_progress
        self._first_rank = first_rank
        self._members: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._deadline: float | None = None

    def start(self, arguments: Sequence[str]) -> None:
        """Start all of them; each is told which it is on this machine."""
        for index in range(self._size):
            read_end, write_end = os.pipe()
            process = self._spawn([*arguments, "--local-rank", str(index), "--events", str(write_end)], write_end)
            os.close(write_end)
            member = Worker(process=process)
            self._members.append(member)
            self._watch(member, self._first_rank + index, read_end)

    def assign(self, assignment: Mapping[str, Any]) -> None:
        """Tell each what there is to do, and its rank."""
        for index, member in enumerate(self._members):
            told = {**assignment, "rank": self._first_rank + index}
            try:
                member.process.stdin.write(json.dumps(told).encode() + b"\n")
                member.process.stdin.close()
            except BrokenPipeError:
                continue  # it has died; its exit says why

    def send_signal(self, number: int) -> None:
        """Hit those that live."""
        for member in self._members:
            if member.process.poll() is None:
                member.process.send_signal(number)

    @property
    def is_over(self) -> bool:
        """Whether all have ended, or those that have not are out of time because one has."""
        codes = [member.process.poll() for member in self._members]
        if None not in codes:
            return True
        ended = [code for code in codes if code is not None]
        if any(code not in (0, INTERRUPTED) for code in ended):
            self.hurry(PEER_SECONDS)
        elif INTERRUPTED in ended or codes[0] == 0:
            self.hurry(UPLOAD_SECONDS)
        return self._deadline is not None and time.monotonic() > self._deadline

    def hurry(self, seconds: float) -> None:
        """Let them go on for so long at most."""
        deadline = time.monotonic() + seconds
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def wait(self, seconds: float) -> bool:
        """Wait for it to be over; whether it is."""
        until = time.monotonic() + seconds
        while not self.is_over:
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def end(self, *, terminate_first: bool, grace_seconds: float) -> None:
        """Make those end that have not, and hear the last of them."""
        left = [member for member in self._members if member.process.poll() is None]
        for member in left:
            member.killed = True
            member.process.send_signal(signal.SIGTERM if terminate_first else signal.SIGKILL)
        until = time.monotonic() + grace_seconds
        for member in left:
            try:
                member.process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
            member.process.wait()
        for thread in self._threads:
            thread.join(timeout=5)

    def ends(self) -> list[dict[str, Any]]:
        """How each has ended, for `runner.train.agent.outcome`; to be asked after `end`."""
        return [
            {
                "rank": self._first_rank + index,
                "code": member.process.wait(),
                "killed": member.killed,
                "outcome": member.outcome,
                "said_at": member.said_at,
            }
            for index, member in enumerate(self._members)
        ]

    def _watch(self, member: Worker, rank: int, events: int) -> None:
        prefix = "" if rank == 0 else f"[rank {rank}] "

        def tee() -> None:
            for line in member.process.stdout:
                self._say(prefix + line.decode(errors="replace"))

        def on_event(event: dict[str, Any]) -> None:
            if event.pop("kind") == "outcome":
                member.outcome, member.said_at = event, time.time()
            elif rank == 0:
                self._on_progress(event)

        self._threads += [
            threading.Thread(target=tee, name=f"log-{rank}", daemon=True),
            threading.Thread(target=read_events, args=(events, on_event), name=f"events-{rank}", daemon=True),
        ]
        for thread in self._threads[-2:]:
            thread.start()
