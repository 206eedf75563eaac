"""One supervisor per run on this machine: a file lock that is released when its holder ends."""

import fcntl
import os
import time
from pathlib import Path

from runner.paths import make_folder


class RunLocked(Exception):
    """Another process on this machine holds the run's lock."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        super().__init__(f"supervised by process {pid or 'unknown'}")


class RunLock:
    """A lock that a run's supervisor holds as long as it lives. Attempts do not inherit it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        """The open file that holds the lock; a detached supervisor inherits it."""

    @classmethod
    def take(cls, folder: Path) -> "RunLock":
        """Take the lock of the run whose state folder is `folder`.

        Raises:
            RunLocked: another process holds it.
        """
        descriptor = _open_lock_file(folder)
        # `lock_holder` takes the lock for a moment when it looks: a second try tells that from a holder.
        for attempt in range(5):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt == 4:
                    os.close(descriptor)
                    raise RunLocked(_pid_in(folder)) from None
                time.sleep(0.02)
            else:
                if _is_at(folder, descriptor):
                    break
                # Its holder has deleted it with the folder: another process may make a new one and lock that.
                os.close(descriptor)
                descriptor = _open_lock_file(folder)
        else:
            os.close(descriptor)
            raise RunLocked(_pid_in(folder))
        lock = cls(descriptor)
        lock.sign()
        return lock

    def sign(self) -> None:
        """Write this process's id into the file, for messages and `runner cancel`."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Close the file. The lock is free once every process that inherited it has closed it."""
        os.close(self.descriptor)


def lock_holder(folder: Path) -> int | None:
    """Return the process id of the run's supervisor on this machine; None without one, 0 if it has not signed yet."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(folder) or 0
    finally:
        os.close(descriptor)
    return None


def _open_lock_file(folder: Path) -> int:
    """Open the lock file, made if it is missing. The supervisor of an ended run may delete the folder meanwhile."""
    for attempt in range(5):
        make_folder(folder)
        try:
            return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            if attempt == 4:
                raise
            time.sleep(0.02)
    raise AssertionError("unreachable")


def _is_at(folder: Path, descriptor: int) -> bool:
    """Whether the open lock file is the one that others find."""
    try:
        return os.path.samestat(os.fstat(descriptor), (folder / "lock").stat())
    except FileNotFoundError:
        return False


def _pid_in(folder: Path) -> int | None:
    try:
        text = (folder / "lock").read_text().strip()
    except FileNotFoundError:  # its holder has just ended, and deleted the folder
        return None
    return int(text) if text.isdecimal() else None
