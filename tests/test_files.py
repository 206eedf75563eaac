"""What somebody named is read in bounded memory, and nobody waits for what is no file."""

import errno
import os
from pathlib import Path

import pytest

from runner.files import read_head, read_whole


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcd")
    assert read_head(tmp_path / "file", 3) == b"abc"
    assert read_whole(tmp_path / "file", 4) == b"abcd"
    with pytest.raises(OSError, match="larger than") as caught:
        read_whole(tmp_path / "file", 3)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a pipe", "missing"])
def test_nobody_waits_for_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "link to a pipe":
            os.mkfifo(tmp_path / "pipe")
            path.symlink_to("pipe")
    with pytest.raises(OSError, match=r"regular file|directory"):
        read_whole(path, 10)
