"""The agent on a machine that is not the head: take part in the head's attempts.

The head decides everything: which attempt it is, which checkpoint it goes on from, how it ended. This machine exits
with the head's exit code.
"""

import shutil
import signal
from collections.abc import Callable
from types import FrameType

from runner.runs.record_types.result import Result
from runner.train.agent.node_attempt import NodeAttempt
from runner.train.agent.setup import AgentSetup


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
