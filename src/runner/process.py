"""Tie a process to the life of the one that started it."""

import os
import signal
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(expected_parent_pid: int) -> None:
    """Have this process killed (SIGKILL) as soon as its parent dies, whatever the parent dies of.

    To be called by the child, first thing: a parent that died before the call is noticed by its process id and ends
    the child at once (exit 137). Linux only; elsewhere just that check is made. The kernel watches the *thread* that
    started the child, so a parent starts its children from a thread that lives as long as they do. Not inherited:
    each generation calls it for itself.

    Args:
        expected_parent_pid: the process id that started this one, handed down by it.
    """
    if sys.platform == "linux":
        import ctypes  # not above: most commands only ask for process ids

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != expected_parent_pid:
        os._exit(128 + signal.SIGKILL)


def die_with_stdin() -> None:
    """Have this process end at once (exit 137) when its standard input ends: whoever holds the other end has died.

    For a process in a container, whose parent cannot be seen from inside. A thread of its own reads; nobody else may.
    """

    def read_to_the_end() -> None:
        while os.read(0, 1024):
            pass
        os._exit(128 + signal.SIGKILL)

    threading.Thread(target=read_to_the_end, name="stdin", daemon=True).start()


def boot_id() -> str | None:
    """Names this machine's present life; None where the system does not say."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else None


def pid_namespace() -> str | None:
    """Names what process ids mean here: a container counts its own, even under its host's name."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def process_runs(pid: int, word: str) -> bool:
    """Whether the process lives and has `word` in its command line (a number may have gone to another program)."""
    command = Path(f"/proc/{pid}/cmdline")
    if command.parent.parent.joinpath("self").exists():
        try:
            return word.encode() in command.read_bytes().split(b"\0")
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
