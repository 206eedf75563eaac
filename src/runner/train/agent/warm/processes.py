"""The agent's side of a warm start: ask `runner.train.warm_server` for a training process, and watch over it.

A fresh training process imports torch, transformers, trl and peft for 6 to 17 seconds before it does anything. A worker
of a sweep starts one process that imports them once, and each of its trials is a fork of that: it costs milliseconds,
and ends with the trial, so that no memory of one trial is left in the next.

The forked process is another's child, so how it ended comes through a pipe. It has its own streams, process group and
signal handlers, like a fresh one, and dies with the server, which dies with this process.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.train.agent.setup import Process, Spawn, training_environment

_log = logging.getLogger(__name__)

READY = b"ready"
"""The server's first and only message."""

START_SECONDS = 180.0
"""How long the server may take to import everything, on a machine whose disk is slow."""

READ_WHEN_IMPORTED = (
    *("ACCELERATE_", "BNB_", "CUBLAS", "DATASETS_", "DS_", "GOMP_", "HF_", "HUGGINGFACE_", "KMP_", "LD_", "MKL_"),
    *("NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH", "TRANSFORMERS_", "TRITON_", "TRL_", "XDG_"),
)
"""What the names of variables begin with that libraries may read once, when they are loaded."""

_FORK_SECONDS = 20.0
"""How long it may take to answer with a process id."""


class WarmServerLost(Exception):
    """The server has gone, or does not answer."""


def environment_changes(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that are others now; None: it is gone."""
    names = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    return {name: now.get(name) for name in sorted(names)}


class WarmProcess:
    """A forked training process, with what the agent needs of `subprocess.Popen`.

    Args:
        pid: its process id.
        stdin: the end of the pipe to write to.
        stdout: the end of the pipe to read from.
        status: where the server writes its exit code.
    """

    def __init__(self, pid: int, *, stdin: int, stdout: int, status: int) -> None:
        self.pid = pid
        self.stdin: Any = os.fdopen(stdin, "wb", buffering=0)
        self.stdout: Any = os.fdopen(stdout, "rb")
        self.returncode: int | None = None
        self._status = status
        self._killed = False

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            line = os.read(self._status, 64)
            if line:
                self.returncode = int(line)
            elif self.returncode is None:  # a signal's handler may have read it meanwhile
                # The server has died, and the process with it.
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end; return its exit code.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired("the training process", timeout or 0.0)
            select.select([self._status], [], [], left)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL to the process."""
        self.send_signal(signal.SIGKILL)


class WarmProcesses:
    """Starts training processes, as `Spawn` says: forks as long as there is a server, else fresh ones.

    Start it in a thread that lives as long as the program, best the main thread: the server dies with that thread.

    Args:
        fresh: starts a process that imports everything itself.
        methods: the methods of the runs' stages, whose scripts are imported beforehand; empty for those of SFT.
        builtin: the built-in data sets that they read (``builtin:…``), whose rows are made beforehand.
        environ: the variables of this process's environment; read at each start.
        kept_rows: a folder in which trials keep the rows that they have prepared for the next ones; None: nowhere.
    """

    def __init__(
        self,
        fresh: Spawn,
        *,
        methods: Sequence[str] = (),
        builtin: Sequence[str] = (),
        environ: Callable[[], Mapping[str, str]] | None = None,
        kept_rows: Path | None = None,
    ) -> None:
        self._fresh = fresh
        self._kept_rows = kept_rows
        self._environ = environ or (lambda: dict(os.environ))
        self._environment = training_environment(self._environ())
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ready = False
        self._until = time.monotonic() + START_SECONDS
        self._lost: str | None = None
        try:
            self._server: subprocess.Popen[bytes] = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-u", "-m", "runner.train.warm_server"),
                    *("--control", str(its.fileno()), "--parent", str(os.getpid())),
                    *(part for method in methods for part in ("--method", method)),
                    *(part for path in builtin for part in ("--builtin", path)),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                env=self._environment,
                process_group=0,
            )
        finally:
            its.close()

    def __call__(self, arguments: Sequence[str], events: int, /) -> Process:
        """Start a training process; see `Spawn`."""
        if self._kept_rows is not None:
            arguments = [*arguments, "--kept-rows", str(self._kept_rows)]
        if not self.wait_until_ready():
            return self._fresh(arguments, events)
        changes = environment_changes(self._environment, training_environment(self._environ()))
        if too_late := sorted(name for name in changes if name.startswith(READ_WHEN_IMPORTED)):
            _log.info("%s changed since the libraries were imported: this is a new process", ", ".join(too_late))
            return self._fresh(arguments, events)
        try:
            return self._fork({"arguments": list(arguments), "environment": changes}, events)
        except WarmServerLost as error:
            self._give_up(str(error))
            return self._fresh(arguments, events)

    def wait_until_ready(self, seconds: float | None = None) -> bool:
        """Wait until everything is imported; return whether trials start warm.

        Args:
            seconds: for how long, if not for `START_SECONDS` from the start.
        """
        if self._lost is not None:
            return False
        if self._ready:
            return True
        left = max(0.0, self._until - time.monotonic())
        if select.select([self._control], [], [], left if seconds is None else min(seconds, left))[0]:
            if self._control.recv(64) == READY:
                self._ready = True
            else:
                self._give_up("it has ended; what it printed says why")
        elif time.monotonic() >= self._until:
            self._give_up(f"it has not imported the libraries in {START_SECONDS:.0f} s")
        return self._ready and self._lost is None

    def is_settled(self, seconds: float) -> bool:
        """Wait for so long at most; return whether it is known how trials start, warm or not."""
        return self.wait_until_ready(seconds) or self._lost is not None

    def close(self) -> None:
        """End the server, and with it each process that was forked and still runs."""
        self._control.close()
        self._server.kill()
        self._server.wait()

    def _fork(self, request: Mapping[str, Any], events: int) -> WarmProcess:
        stdin_read, stdin = os.pipe()
        stdout, stdout_write = os.pipe()
        status, status_write = os.pipe()
        ours = [stdin, stdout, status]
        try:
            try:
                socket.send_fds(
                    self._control, [json.dumps(request).encode()], [stdin_read, stdout_write, events, status_write]
                )
            except OSError as error:
                raise WarmServerLost(f"it has gone ({error})") from error
            finally:
                for descriptor in (stdin_read, stdout_write, status_write):
                    os.close(descriptor)
            if not select.select([status], [], [], _FORK_SECONDS)[0]:
                raise WarmServerLost(f"it does not answer within {_FORK_SECONDS:.0f} s")
            pid = os.read(status, 32)  # its exit code may be there too, so this is of a fixed length
            if not pid:
                raise WarmServerLost("it has gone")
        except WarmServerLost:
            for descriptor in ours:
                os.close(descriptor)
            raise
        return WarmProcess(int(pid), stdin=stdin, stdout=stdout, status=status)

    def _give_up(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
            _log.warning("trials start in new processes from here on, which takes seconds: the warm one, %s", why)
            self.close()
