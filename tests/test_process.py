"""A process that ties itself to its parent does not outlive it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

CHILD = """
import sys, time
from runner.process import die_with_parent
die_with_parent(int(sys.argv[1]))
print("tied", flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_child_is_killed_when_its_parent_is_killed() -> None:
    parent_code = textwrap.dedent(f"""
        import os, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdout=subprocess.PIPE)
        child.stdout.readline()
        print(child.pid, flush=True)
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not gone(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while not gone(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.01)


def test_a_parent_that_died_before_the_call_is_noticed() -> None:
    """The child is told whose it is; its parent being another process by now means that it came too late."""
    child = subprocess.run([sys.executable, "-c", CHILD, "1"], timeout=120, capture_output=True)
    assert os.getpid() != 1
    assert child.returncode == 137
    assert child.stdout == b""


def test_a_process_dies_when_its_standard_input_ends() -> None:
    """So does an attempt in a container, whose supervisor held the other end."""
    code = "from runner.process import die_with_stdin; import time; die_with_stdin(); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 137
