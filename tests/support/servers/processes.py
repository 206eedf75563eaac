"""Start a server on a free loopback port, wait until it answers, and see that it never outlives the tests."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

ENVIRONMENT = ROOT / ".venv-servers"
"""Where `install.sh` puts the servers."""
START_SECONDS = 60.0


class ServerFailed(Exception):
    """The server ended, or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    port: int
    """On 127.0.0.1."""
    process_group: int
    """The group of its processes."""


def program(name: str) -> str:
    """The path of a program that `install.sh` has installed."""
    lock, stamp = Path(__file__).with_name("requirements.lock"), ENVIRONMENT / "installed.lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        raise ServerFailed("the tests' object stores are not installed; run tests/support/servers/install.sh")
    return str(ENVIRONMENT / "bin" / name)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    command: Callable[[int], list[str]],
    folder: Path,
    environment: Callable[[int], Mapping[str, str]] = lambda port: {},
    *,
    port: int | None = None,
) -> Iterator[Running]:
    """Run a server; kill it, and all that it started, at the end.

    Should the test process die of anything else, the kernel kills the server (PDEATHSIG, on Linux).

    Args:
        command: makes the command line for a port.
        folder: the server's home, temporary folder and working directory; `server.log` is written there.
        environment: makes what the server finds in its environment, besides PATH and its folders. Nothing else is
            handed down: no credentials, no proxies.
        port: where it listens; None for a free one.

    Raises:
        ServerFailed: it did not come up, twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    process, chosen = _start(command, environment, folder, log, port)
    try:
        yield Running(chosen, process.pid)
    finally:
        _kill(process)


def _start(
    command: Callable[[int], list[str]],
    environment: Callable[[int], Mapping[str, str]],
    folder: Path,
    log: Path,
    asked: int | None,
) -> tuple[subprocess.Popen[bytes], int]:
    for last_try in (False, True):  # another process may take the port between our look and the server's bind
        port = free_port() if asked is None else asked
        places = {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*_die_with_parent(), *command(port)],
                cwd=folder,
                env=places | environment(port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait(process, port, log)
        except ServerFailed:
            _kill(process)
            if last_try:
                raise
            continue
        break
    return process, port


def _die_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")  # util-linux; a preexec_fn is unsafe in a process with obstore's threads
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"the server ended with {process.returncode}:\n{_tail(log)}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise ServerFailed(f"the server did not listen within {START_SECONDS:.0f} s:\n{_tail(log)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """By its process group, which it leads: nothing that it started stays."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
