"""One supervisor a run: the lock is held as long as its holder lives, and no longer."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.backends.lock import RunLock, RunLocked, lock_holder


def test_a_lock_is_held_once_and_names_its_holder(tmp_path: Path) -> None:
    lock = RunLock.take(tmp_path / "run")
    assert lock_holder(tmp_path / "run") == os.getpid()
    with pytest.raises(RunLocked) as refused:
        RunLock.take(tmp_path / "run")
    assert refused.value.pid == os.getpid()
    lock.close()
    assert lock_holder(tmp_path / "run") is None
    RunLock.take(tmp_path / "run").close()


def test_nobody_holds_what_was_never_taken(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "run") is None


def test_a_folder_that_is_deleted_meanwhile_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a supervisor deletes it when its run has ended."""
    open_file, deleted = os.open, []

    def late(path: Path, flags: int, mode: int = 0o777) -> int:
        if not deleted:
            deleted.append(path)
            Path(path).parent.rmdir()
        return open_file(path, flags, mode)

    monkeypatch.setattr(os, "open", late)
    lock = RunLock.take(tmp_path / "run")
    assert deleted
    assert lock_holder(tmp_path / "run") == os.getpid()
    (tmp_path / "run/lock").unlink()
    assert lock_holder(tmp_path / "run") is None
    lock.close()


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from runner.backends.lock import RunLock;"
        "RunLock.take(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")])
    assert (tmp_path / "run" / "lock").exists()
    assert lock_holder(tmp_path / "run") is None


def test_a_lock_can_be_handed_to_a_child(tmp_path: Path) -> None:
    """There is no moment at which nobody holds it."""
    lock = RunLock.take(tmp_path / "run")
    code = "import sys; from runner.backends.lock import RunLock; RunLock(int(sys.argv[1])).sign(); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(lock.descriptor)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock.descriptor])
    lock.close()
    holder = lock_holder(tmp_path / "run")
    assert holder in (os.getpid(), child.pid)
    child.communicate(b"")
    assert lock_holder(tmp_path / "run") is None


def test_looking_does_not_get_in_the_way_of_taking(tmp_path: Path) -> None:
    RunLock.take(tmp_path).close()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.001):
            lock_holder(tmp_path)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(200):
            RunLock.take(tmp_path).close()
    finally:
        stop.set()
        looker.join()
    assert lock_holder(tmp_path) is None
