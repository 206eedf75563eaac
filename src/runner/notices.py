"""Notices: sentences from an attempt to the user who launched it, through its supervisor on the same machine.

A file of JSON lines in the work folder that both share, whether the attempt is a process or a container. The store has
the same sentences in the attempt's log.
"""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

NOTICES = "notices.jsonl"
"""The file's name in the run's work folder."""

_LONGEST_LINE = 1 << 16


@dataclass(frozen=True)
class Notice:
    """One sentence for the user who launched the run."""

    level: str
    """``info`` or ``warning``."""
    text: str
    """The sentence."""

    def __str__(self) -> str:
        return f"{self.level}: {self.text}" if self.level != "info" else self.text


class NoticeWriter:
    """The attempt's end. Any thread may write; a file that cannot be written is no reason to stop.

    Args:
        work_dir: the run's work folder; what an earlier attempt has left there is removed.
    """

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / NOTICES
        self._lock = threading.Lock()
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return

    def write(self, level: str, text: str) -> None:
        """Write one notice; it can be read at once."""
        line = json.dumps({"level": level, "text": text}).encode() + b"\n"
        with self._lock:
            try:
                with self._path.open("ab") as file:
                    file.write(line)
            except OSError:
                return


class NoticeReader:
    """The supervisor's end, for one attempt.

    Args:
        work_dir: the run's work folder; what an earlier attempt has left there is removed.
    """

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / NOTICES
        self._position = 0
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            self._position = self._path.stat().st_size if self._path.exists() else 0

    def read(self) -> list[Notice]:
        """Return the notices since the last call. A line that is not a notice is passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except OSError:
            return []
        complete = data[: data.rfind(b"\n") + 1] if len(data) < _LONGEST_LINE else data
        self._position += len(complete)
        return [notice for line in complete.splitlines() if (notice := _parse(line)) is not None]


def _parse(line: bytes) -> Notice | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("level") not in ("info", "warning"):
        return None
    text = record.get("text")
    return Notice(record["level"], " ".join(text.split())) if isinstance(text, str) else None
