"""The screen of `runner top` on a terminal: it answers keys, and leaves the terminal as it was."""

import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from runner.runs.layout import chunk_key
from runner.sweeps.definition import read_definition
from runner.sweeps.journal import Journal
from support import stored
from support.bench import Bench, wait_until
from support.sweeping.launched import launched, tell

LEAVE = b"\x1b[?1049l"
"""What takes a terminal back to what it showed before."""

BROKEN = """
from runner.cli.main import main
from runner.control.watching.alive import AliveReader
AliveReader.look = lambda reader: 1 / 0
main()
"""


class Terminal:
    """A terminal with `runner top` on it."""

    def __init__(self, bench: Bench, *program: str) -> None:
        self.ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (24, 100))
        self.before = termios.tcgetattr(self.theirs)
        self.shown = b""
        self.process = subprocess.Popen(
            [sys.executable, *(program or ("-m", "runner")), "top"],
            env={**bench.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"},
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
        )

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self.ours, keys.encode())

    def wait_for(self, text: bytes) -> bytes:
        """Wait until something is shown, and return what was shown since the last call."""
        deadline = time.monotonic() + 120
        while text not in self.shown:
            assert time.monotonic() < deadline, (text, self.shown[-3000:])
            if select.select([self.ours], [], [], 0.1)[0]:
                self.shown += os.read(self.ours, 65536)
            elif self.process.poll() is not None:
                raise AssertionError((text, self.shown[-3000:]))
        seen, self.shown = self.shown, b""
        return seen

    def end(self) -> int:
        """Wait for the program's end; its exit code. The terminal has to be as it was."""
        self.wait_for(LEAVE)
        code = self.process.wait(120)
        assert termios.tcgetattr(self.theirs) == self.before
        return code

    def close(self) -> None:
        """End what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(bench: Bench) -> Iterator[Terminal]:
    """A terminal on which two runs are shown, the first of them chosen."""
    for name in ("one", "two"):
        stored.running(bench.store, name, losses=[3.0, 2.0])
        bench.store.create(chunk_key(name, "logs", stored.TOKEN, 1), f"said by {name}\x1b[2J\n".encode())
    made = Terminal(bench)
    made.wait_for(b"CURVE")
    yield made
    made.close()


def test_keys_choose_a_run_and_show_its_log(terminal: Terminal) -> None:
    terminal.press("\x1b[B")
    terminal.wait_for(b"q quit")
    terminal.press("l")
    assert b"said by two" not in terminal.wait_for(b"said by one") + terminal.shown
    terminal.press("q")
    terminal.wait_for(b"CURVE")
    terminal.press("q")
    assert terminal.end() == 0


def test_cancel_asks_first(terminal: Terminal, bench: Bench) -> None:
    terminal.press("c")
    terminal.wait_for(b"Cancel two for good? y/n")
    terminal.press("n")
    terminal.wait_for(b"q quit")
    assert not [info.key for info in bench.store.objects("runs/two/") if "cancel" in info.key]
    terminal.press("cy")
    terminal.wait_for(b"two is being cancelled")
    deadline = time.monotonic() + 120
    while not [info.key for info in bench.store.objects("runs/two/") if "cancel" in info.key]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.press("q")
    assert terminal.end() == 0


@pytest.fixture
def with_sweep(bench: Bench) -> Iterator[Terminal]:
    """A terminal on which a sweep is shown, chosen, with a trial that trains."""
    launched(bench.store, bench.folder)
    drawn = {"event": "drawn", "trial": 3, "values": {"lora_r": 4}, "settings": {"adapter.r": 4}}
    taken = {"event": "taken", "trial": 3, "worker": "w", "until": 30}
    tell(bench.store, {"event": "joined", "worker": "w"}, drawn, taken)  # type: ignore[arg-type]
    stored.running(bench.store, "sweep-0003", losses=[2.0])
    made = Terminal(bench)
    made.wait_for(b"trial 3")
    yield made
    made.close()


def test_a_sweep_can_be_stopped_after_a_question(with_sweep: Terminal, bench: Bench) -> None:
    with_sweep.press("r")
    with_sweep.wait_for(b"sweep is running: there is nothing to resume")
    with_sweep.press("l")
    with_sweep.wait_for(b"a sweep has no log of its own")
    with_sweep.press("c")
    with_sweep.wait_for(b"Stop the sweep sweep? Its trials save and pause. y/n")
    with_sweep.press("n")
    with_sweep.wait_for(b"q quit")
    journal = Journal(bench.store, read_definition(bench.store, "sweep"), by="test")
    assert journal.catch_up().stop is None
    with_sweep.press("cy")
    with_sweep.wait_for(b"sweep is being stopped")
    wait_until(lambda: journal.catch_up().stop is not None)
    with_sweep.press("q")
    assert with_sweep.end() == 0


def test_arrows_go_from_a_sweep_to_its_trials(with_sweep: Terminal) -> None:
    with_sweep.press("\x1b[Bc")
    with_sweep.wait_for(b"Cancel sweep-0003 for good? y/n")
    with_sweep.press("nq")
    assert with_sweep.end() == 0


def test_resume_is_said_only_where_it_helps(terminal: Terminal) -> None:
    terminal.press("r")
    terminal.wait_for(b"two is running: there is nothing to resume")
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["int", "term", "hup"]
)
def test_the_terminal_is_as_before_after_a_signal(terminal: Terminal, sent: signal.Signals, code: int) -> None:
    terminal.process.send_signal(sent)
    assert terminal.end() == code


def test_the_terminal_is_as_before_after_a_bug(bench: Bench) -> None:
    terminal = Terminal(bench, "-c", BROKEN)
    assert terminal.end() == 1
    terminal.close()
