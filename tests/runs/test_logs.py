"""A log, or one line of it, may be of any length: it is written and read piece by piece."""

import io
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.runs import logs
from runner.runs.chunks import ChunkWriter
from runner.runs.logs import for_terminal, open_log, pieces_for_terminal, read_log
from runner.storage.store import StoreUnavailable
from runner.train.agent.worker_group import LONGEST_LINE, bounded_lines
from support.bench import Bench
from support.fakes.memory_store import MemoryStore


def put_chunks(store: MemoryStore, chunks: list[bytes]) -> None:
    for number, data in enumerate(chunks, 1):
        store.data[f"runs/r/logs/0001-aaaa-{number:06d}.txt"] = data


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab\nü", max_size=12), max_size=6), st.integers(0, 12), st.booleans())
def test_the_last_lines_are_those_of_the_whole(texts: list[str], lines: int, large: bool) -> None:
    """Also of chunks that are read through a file, in pieces that end amid a line."""
    store = MemoryStore()
    put_chunks(store, [text.encode() for text in texts])
    whole = "".join(texts)
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(logs, "_LARGE_BYTES", 0)
            patch.setattr(logs, "_PIECE_BYTES", 3)
        pieces, cursor = open_log(store, "r", tail=lines)
        expected = io.StringIO(whole, newline="\n").readlines()
        assert "".join(pieces) == "".join(expected[len(expected) - min(lines, len(expected)) :])
        assert read_log(store, "r") == (whole, cursor)


@given(
    st.lists(st.sampled_from(["\x1b", "[", "31", ";", "m", "x", "\x1b[0m", "\x1b[2J", "\n", "\r"]), max_size=30),
    st.data(),
)
def test_a_log_in_pieces_is_shown_as_in_one(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(text)])]
    assert "".join(pieces_for_terminal(pieces)) == for_terminal(text)


def test_a_color_right_after_an_escape_is_kept() -> None:
    assert for_terminal("\x1b\x1b[mred") == "\N{REPLACEMENT CHARACTER}\x1b[mred"


def test_marks_that_turn_the_direction_of_reading_are_not_shown() -> None:
    assert for_terminal("a\N{RIGHT-TO-LEFT OVERRIDE}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_no_line_of_a_log_hides_another_by_a_carriage_return() -> None:
    assert for_terminal("a\r\nfailed\rall is well\n") == "a\nfailed\nall is well\n"


def test_of_a_line_that_is_too_long_the_beginning_is_kept() -> None:
    short, exact = b"short\n", b"x" * (LONGEST_LINE - 1) + b"\n"
    stream = io.BytesIO(short + b"y" * (3 * LONGEST_LINE) + b"\n" + exact + b"without an end")
    lines = list(bounded_lines(stream))
    assert lines[0] == short
    assert lines[1] == b"y" * LONGEST_LINE + f" [{2 * LONGEST_LINE + 1:,} bytes of this line are left out]\n".encode()
    assert lines[2:] == [exact, b"without an end"]


def test_chunks_are_small_and_end_with_a_line(memory: MemoryStore) -> None:
    writer = ChunkWriter(memory, "r", "metrics", "0001-aaaa")
    text = "".join(f'{{"step": {step}, "text": "{"x" * 1000}"}}\n' for step in range(10_000))
    writer.append(text)
    writer.flush()
    assert len(memory.data) == 3
    assert all(len(data) <= 4 << 20 and data.endswith(b"\n") for data in memory.data.values())
    assert b"".join(memory.data[key] for key in sorted(memory.data)).decode() == text


def test_a_store_that_is_away_does_not_fill_the_memory_and_what_is_left_out_is_said() -> None:
    away = True

    def step(request: str) -> Exception | None:
        if away:
            raise StoreUnavailable("away")
        return None

    store = MemoryStore(step=step)
    writer = ChunkWriter(store, "r", "logs", "0001-aaaa", most_bytes=1000)
    for number in range(300):
        writer.append(f"line {number:04d}\n")
        if number == 150:
            with pytest.raises(StoreUnavailable):
                writer.flush()
    away = False
    writer.flush()
    writer.append("the end\n")
    writer.flush()
    text = read_log(store, "r")[0]
    assert len(text) < 3000
    assert text.startswith("line 0000\nline 0001\n")
    assert "bytes are left out: the store did not take them]\n" in text
    assert text.endswith("the end\n")


_MEASURE = """
import re, sys
from pathlib import Path
from runner.cli.main import cli
try:
    cli.main(sys.argv[1:], prog_name="runner")
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["-n", "3"], []])
def test_a_line_of_300_mb_is_printed_in_bounded_memory(bench: Bench, arguments: list[str]) -> None:
    """As an older version has written it, into one chunk."""
    bench.submit()
    folder = bench.folder / "store/runs/run/logs"
    folder.mkdir()
    with (folder / "0001-aaaa-000001.txt").open("wb") as file:
        file.write(b"first\n")
        for _ in range(300):
            file.write(b"x" * 1_000_000)
        file.write(b"\nlast\n")
    with (bench.folder / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, "logs", "run", *arguments],
            env=bench.environment,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert (bench.folder / "out").stat().st_size == 300_000_012
    assert int(done.stderr.split()[-1]) < 200_000, "KiB"


_PRINT = """
import sys
for _ in range(300):
    sys.stdout.write("x" * 1_000_000)
"""


def test_a_line_of_300_mb_passes_through_the_agent_in_bounded_memory(tmp_path: Path) -> None:
    program = f"""
import re, subprocess, sys
from pathlib import Path
from runner.runs.chunks import ChunkWriter
from runner.storage.local import LocalStore
from runner.train.agent.worker_group import bounded_lines
writer = ChunkWriter(LocalStore(Path(sys.argv[1])), "r", "logs", "0001-aaaa", most_bytes=64 << 20)
worker = subprocess.Popen([sys.executable, "-c", {_PRINT!r}], stdout=subprocess.PIPE)
for line in bounded_lines(worker.stdout):
    writer.append(line.decode(errors="replace"))
writer.flush(final=True)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout) < 120_000, "KiB"
    [chunk] = (tmp_path / "runs/r/logs").iterdir()
    assert chunk.read_bytes().endswith(b"bytes of this line are left out]\n")
