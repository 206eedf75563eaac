"""Notices reach the supervisor once, in order, and nothing that else stands in the file does."""

from pathlib import Path

from runner.notices import NOTICES, Notice, NoticeReader, NoticeWriter


def test_each_notice_is_read_once(tmp_path: Path) -> None:
    reader, writer = NoticeReader(tmp_path), NoticeWriter(tmp_path)
    assert reader.read() == []
    writer.write("info", "attempt 2 continues from step 4")
    writer.write("warning", "the store\nis away")
    assert list(map(str, reader.read())) == ["attempt 2 continues from step 4", "warning: the store is away"]
    assert reader.read() == []
    writer.write("warning", "again")
    assert reader.read() == [Notice("warning", "again")]


def test_a_new_attempt_begins_with_none(tmp_path: Path) -> None:
    NoticeWriter(tmp_path).write("warning", "of the attempt before")
    reader = NoticeReader(tmp_path)
    assert reader.read() == []
    NoticeWriter(tmp_path).write("warning", "of this attempt")
    assert reader.read() == [Notice("warning", "of this attempt")]


def test_a_line_that_is_being_written_is_read_later(tmp_path: Path) -> None:
    """An attempt that was killed leaves a torn one."""
    reader = NoticeReader(tmp_path)
    path = tmp_path / NOTICES
    path.write_bytes(b'{"level": "info", "text": "a"}\n{"level": "inf')
    assert reader.read() == [Notice("info", "a")]
    path.write_bytes(path.read_bytes() + b'o", "text": "b"}\n')
    assert reader.read() == [Notice("info", "b")]


def test_what_is_not_a_notice_is_passed_over(tmp_path: Path) -> None:
    reader = NoticeReader(tmp_path)
    lines = [
        b"[]",
        b"{",
        b"\xff",
        b"7",
        b'{"level": "x", "text": "a"}',
        b'{"level": "info", "text": 3}',
        b'{"text": ""}',
    ]
    (tmp_path / NOTICES).write_bytes(b"\n".join([*lines, b'{"level": "info", "text": "a"}', b""]))
    assert reader.read() == [Notice("info", "a")]


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    NoticeWriter(tmp_path / "missing").write("warning", "unheard")
    assert NoticeReader(tmp_path / "missing").read() == []
