"""Read and write files that somebody named: in bounded memory, and without waiting for what is no file (a pipe)."""

import errno
import os
import stat
from pathlib import Path

from runner.errors import UserError


def read_head(path: Path, most_bytes: int) -> bytes:
    """Return the first bytes of a regular file; fewer if it is shorter.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        pieces = []
        while most_bytes > 0 and (piece := os.read(descriptor, min(most_bytes, 1 << 20))):
            pieces.append(piece)
            most_bytes -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Return what is in a regular file.

    Raises:
        OSError: it cannot be read, is not a regular file, or holds more bytes than that.
    """
    data = read_head(path, most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes >> 20} MiB", str(path))
    return data


def write_new_file(path: Path, content: str | bytes) -> Path:
    """Write a file that is not there yet, with the folders above it.

    Returns:
        `path`.

    Raises:
        UserError: there is one, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except FileExistsError as error:
        remedy = "name another file, or move that one away"
        raise UserError("there is such a file already", where=str(path), remedy=remedy) from error
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise UserError(what, where=str(path), remedy="name another file") from error
    return path
