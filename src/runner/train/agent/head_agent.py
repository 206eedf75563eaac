"""The agent on the machine that leads a run: claim an attempt and make it, and the next one after memory ran out.

On the other machines of a launch `runner.train.agent.nodes.node_agent` runs.
"""

import os
import shutil
import signal
import socket
from collections.abc import Sequence
from types import FrameType
from typing import Any

from runner.exit_codes import INTERRUPTED
from runner.notices import NoticeWriter
from runner.process import boot_id
from runner.runs.attempts import Claim, claim_attempt
from runner.runs.records import utc_now
from runner.train.agent.hangs.reach import reach_store
from runner.train.agent.head_attempt import HeadAttempt
from runner.train.agent.preemption import STOP_SIGNAL
from runner.train.agent.restore import KEPT, commit_kept
from runner.train.agent.setup import AgentSetup


class HeadAgent:
    """Makes attempts at a run until one is the last of this process.

    Args:
        setup: the run, this machine, and how to start workers.
        stages: the names of the run's stages; empty for a run without stages.
        give_up_after: attempts in a row without a newer checkpoint after which no more are made; None: the caller
            counts them.
    """

    def __init__(self, setup: AgentSetup, *, stages: Sequence[str] = (), give_up_after: int | None = None) -> None:
        self._setup = setup
        self._stages = stages
        self._give_up_after = give_up_after
        self._notices = NoticeWriter(setup.work_dir)
        self._stopping = False
        self._attempt: HeadAttempt | None = None
        self._before: dict[int, Any] = {}
        """The handlers that were there before: a worker of a sweep, which goes on after this run, hears of it too."""

    def run(self) -> int:
        """Make one attempt, and another one after each that ran out of memory; return the last one's exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, STOP_SIGNAL):
            self._before[number] = signal.signal(number, self._on_signal)
        try:
            return self._run()
        finally:
            for signum, handler in self._before.items():
                signal.signal(signum, handler)

    def _run(self) -> int:
        exit_code, again = INTERRUPTED, True
        reach_store(
            lambda: commit_kept(self._setup.store, self._setup.run_id, self._setup.work_dir / KEPT),
            timing=self._setup.timing,
            counted_by_caller=self._give_up_after is None,
        )
        while again and not self._stopping:
            claim = self._claim()
            self._clear_leftovers()
            self._attempt = HeadAttempt(
                self._setup,
                claim,
                notices=self._notices,
                stopping=lambda: self._stopping,
                stages=self._stages,
                give_up_after=self._give_up_after,
            )
            exit_code, again = self._attempt.run()
        return exit_code

    def _claim(self) -> Claim:
        topology = self._setup.topology
        record: dict[str, Any] = {
            "host": socket.gethostname(),
            "boot_id": boot_id(),
            "pid": os.getpid(),
            "started_at": utc_now(),
        }
        if topology.world_size > 1:
            record |= {"nodes": topology.num_nodes, "processes": topology.world_size}
        return reach_store(
            lambda: claim_attempt(self._setup.store, self._setup.run_id, record),
            timing=self._setup.timing,
            counted_by_caller=self._give_up_after is None or self._attempt is not None,
        )

    def _clear_leftovers(self) -> None:
        """Remove what earlier attempts have left on this machine; whatever counts is in the store."""
        for folder in self._setup.work_dir.glob("attempt-*"):
            shutil.rmtree(folder, ignore_errors=True)
        (self._setup.work_dir / "shared").mkdir(parents=True, exist_ok=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        before = self._before.get(number)
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)
        if self._attempt is not None:
            self._attempt.stop()
