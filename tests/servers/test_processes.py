"""The servers of the tests stay on loopback and end with the tests."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.paths import TESTS
from support.servers.processes import serving
from support.servers.s3 import SERVERS, S3Server

LISTEN, LOOPBACK = "0A", "0100007F"
"""As /proc/net/tcp writes them."""


def listening_addresses(process_group: int) -> set[str]:
    """The IPv4 and IPv6 addresses, in the kernel's hex, on which the processes of a session listen."""
    inodes = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) != process_group:
                continue
            inodes |= {str(fd.readlink()) for fd in (folder / "fd").iterdir()}
        except OSError:
            continue
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == LISTEN and f"socket:[{row[9]}]" in inodes}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_listens_on_loopback_only(name: str, s3_server: Callable[[str], S3Server]) -> None:
    """No port of a test server can be reached from another machine."""
    assert listening_addresses(s3_server(name).process_group) == {LOOPBACK}


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Killing the tests with SIGKILL leaves no server behind."""
    script = (
        "import sys, time; from pathlib import Path; from support.servers.processes import serving\n"
        "command = lambda port: [sys.executable, '-m', 'http.server', '--bind', '127.0.0.1', str(port)]\n"
        "with serving(command, Path(sys.argv[1])) as running: print(running.port, flush=True); time.sleep(60)\n"
    )
    tests = TESTS
    command = [sys.executable, "-c", script, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tests)
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    assert answers(port)

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    deadline = time.monotonic() + 60
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not answers(port)


def test_a_server_ends_with_its_block(tmp_path: Path) -> None:
    """Leaving the block, by an error too, ends the server."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]

    ports = []
    with suppress(ZeroDivisionError), serving(command, tmp_path) as running:
        ports.append(running.port)
        assert answers(running.port)
        raise ZeroDivisionError

    assert not answers(ports[0])


def answers(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
