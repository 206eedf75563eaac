"""Attempts as processes of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any

from runner.backends.base import AttemptRunner, RunningAttempt
from runner.paths import work_folder
from runner.process import boot_id

ENTRYPOINT = "runner.train.entrypoint"
"""The module that runs one attempt."""


def attempt_command(store_url: str, run_id: str, *, parent_pid: int | None, entrypoint: str = ENTRYPOINT) -> list[str]:
    """Build the command that runs one attempt on this machine.

    Args:
        store_url: where the run lives.
        run_id: the run.
        parent_pid: the process that the attempt dies with; None for an attempt that is started by hand.
        entrypoint: the module to run.
    """
    work = str(work_folder(store_url, run_id))
    # -P: a `datasets.py` in the working directory must not be taken for the library.
    command = [sys.executable, "-P", "-m", entrypoint, "--store", store_url, "--run", run_id, "--work-dir", work]
    return command if parent_pid is None else [*command, "--parent", str(parent_pid)]


class ProcessRunner(AttemptRunner):
    """Starts attempts as processes of this machine.

    Args:
        entrypoint: the module that runs an attempt.
    """

    def __init__(self, entrypoint: str = ENTRYPOINT) -> None:
        self._entrypoint = entrypoint

    def command(self, store_url: str, run_id: str) -> list[str]:
        """Build the command of one attempt, as `AttemptRunner.command`."""
        return attempt_command(store_url, run_id, parent_pid=None, entrypoint=self._entrypoint)

    def start(self, store_url: str, run_id: str, *, environment: Mapping[str, str], log: IO[bytes]) -> "LocalAttempt":
        """Start a process, as `AttemptRunner.start`."""
        process = subprocess.Popen(
            attempt_command(store_url, run_id, parent_pid=os.getpid(), entrypoint=self._entrypoint),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        return LocalAttempt(process)


class LocalAttempt(RunningAttempt):
    """One attempt in a session of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for its end; its exit code, or None if time is up."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_seconds)
        return None

    def stop(self) -> None:
        """SIGTERM for its leader, which passes it on."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL for its whole group."""
        _kill_group(self._process.pid)

    def clear(self) -> None:
        """Kill what is left of its group, and reap it."""
        _kill_group(self._process.pid)
        self._process.wait()

    def made(self, claim: Mapping[str, Any]) -> bool:
        """Whether the claim names this process."""
        return (claim.get("boot_id"), claim.get("pid")) == (boot_id(), self._process.pid)


def _kill_group(leader: int) -> None:
    """Kill what is left of the group that the process `leader` leads or led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
