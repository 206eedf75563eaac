"""A terminal of a chosen width, on which a command is shown."""

import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

from support.bench import Bench


def shown(bench: Bench, columns: int, *arguments: str) -> list[str]:
    """Run `runner` to its end on a terminal; return the lines that it shows."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in bench.environment.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "runner", *arguments]
    with Path(bench.folder, "said").open("w") as said:
        process = subprocess.Popen(
            command, env={**environment, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=said
        )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:  # how Linux says that nobody writes to it any more
        pass
    os.close(ours)
    assert process.wait(60) == 0
    return seen.decode().splitlines()
