"""Standard streams that are closed, or cannot be written: what a command is told to do is done all the same."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def open_closed_streams() -> None:
    """Put the null device in the place of each standard stream that is closed (``>&-``).

    Otherwise the next file that is opened gets its number, and whatever is printed by us, or by a process that we
    start, is written into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 (for as long as the program runs)


def abandon(stream: TextIO) -> None:
    """Let what is printed to a stream that cannot be written go nowhere: Python flushes it once more when it ends."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):  # not a file: a test's
        return


class OutputFailed(Exception):
    """Standard output cannot be written, but not because its reader has left."""


@contextmanager
def writing_output() -> Iterator[None]:
    """Within, standard output is written.

    Raises:
        BrokenPipeError: its reader has left.
        OutputFailed: it cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon(sys.stdout)
        raise OutputFailed(f"standard output cannot be written: {error.strerror or error}") from error
