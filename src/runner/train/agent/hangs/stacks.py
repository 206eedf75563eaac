"""The stacks of all threads of a training process, printed by itself when it gets a signal.

Python's `faulthandler` answers in the signal handler, so that it also works while the process waits in C code, holds
the interpreter's lock, or has used up its memory. Processes that it has forked, such as a data loader's, answer too.
"""

import faulthandler
import signal
from pathlib import Path

import psutil

SIGNAL = signal.SIGQUIT
"""By which the stacks are asked for, as Java's and Go's are."""

_STANDARD_ERROR = 2
"""The descriptor: what Python calls standard error may be closed or replaced."""

_WHY_SILENT = {
    psutil.STATUS_STOPPED: "it is stopped (SIGSTOP), and shows no stack until somebody continues it",
    psutil.STATUS_DISK_SLEEP: "it waits in the kernel for a disk or a device, and shows no stack until that answers",
    psutil.STATUS_ZOMBIE: "it has ended",
}


def print_stacks_when_asked() -> None:
    """Have this process print the stacks of all its threads on standard error whenever it gets `SIGNAL`."""
    faulthandler.register(SIGNAL, file=_STANDARD_ERROR, all_threads=True, chain=False)


def answers(pid: int) -> bool:
    """Whether a process handles `SIGNAL`. One that does not would be ended by it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False  # it has gone, or the system has no /proc: nobody is asked
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (SIGNAL - 1) & 1)


def family(pid: int) -> list[int]:
    """A process and all below it that print their stacks when asked."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        children = []
    return [member for member in (pid, *(child.pid for child in children)) if answers(member)]


def why_silent(state: str | None) -> str:
    """Why a process in this state has shown no stack."""
    return _WHY_SILENT.get(state or "", "it did not answer")
