"""Read a large file of JSON Lines in several processes, a part each, and quickly: see `json_lines.quick`."""

import faulthandler
import json
import multiprocessing
import os
import shutil
import sys
import uuid
from pathlib import Path

from runner.errors import UserError
from runner.recipe.rows.text import Span, line_spans
from runner.train.data.arrow_files import write_arrow_files
from runner.train.data.json_lines.quick import read_quickly

SMALLEST_PART = 16 << 20
"""Bytes; what is smaller is read before a process has begun."""
MOST_PROCESSES = 8

_DONE = "files.json"


def write_in_parts(file: Path, folder: Path) -> list[Path] | None:
    """Write the rows of a file into Arrow files, as `write_arrow_files` does.

    Args:
        file: a data file of any kind.
        folder: where the files are written.

    Returns:
        None if the file has to be read in one go: it is small or of another kind, or a part cannot be read. Reading it
        in one go then says which line is wrong.
    """
    # Forked, as PyTorch's data loaders are: the children touch no device, and import nothing.
    if file.suffix.lower() != ".jsonl" or sys.platform != "linux":
        return None
    spans = line_spans(file, _processes(), smallest=SMALLEST_PART)
    if file.stat().st_size < SMALLEST_PART or not _begins_with_an_object(file):
        return None
    folders = [folder / f"part-{uuid.uuid4().hex}" for _ in spans]
    context = multiprocessing.get_context("fork")
    children = []
    try:
        for span, own in zip(spans, folders, strict=True):
            own.mkdir()
            children.append(context.Process(target=_write_part, args=(file, span, own), daemon=True))
            children[-1].start()
    finally:
        for child in children:
            child.join()
    if any(child.exitcode for child in children):
        for own in folders:
            shutil.rmtree(own, ignore_errors=True)
        return None
    return [own / name for own in folders for name in json.loads((own / _DONE).read_bytes())]


def _write_part(file: Path, span: Span, folder: Path) -> None:
    faulthandler.disable()  # a crash of pyarrow's parser is no failure either: the exact reader says what is wrong
    try:
        paths = write_arrow_files(read_quickly(file, span), folder)
    except (UserError, OSError):
        os._exit(1)  # without a traceback: see `write_in_parts`
    (folder / _DONE).write_text(json.dumps([path.name for path in paths]))


def _processes() -> int:
    """Return how many processes may read: as many as this one's share of the cores."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)) // max(1, beside))


def _begins_with_an_object(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
