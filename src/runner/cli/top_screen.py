"""The screen of `runner top`: it is drawn again and again, and answers keys, while the store is read beside it."""

import os
import re
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from runner.backends.base import poll_seconds
from runner.cli.follow_logs import lines_of
from runner.cli.hints import as_typed
from runner.control.cancel import cancel_run
from runner.control.sweeping.stop import stop_sweep
from runner.errors import UserError
from runner.redaction import hide_tokens
from runner.reports.drawing.sparkline import is_plain
from runner.reports.top import Alive, Subject, TopLine, cut, top_lines
from runner.runs.logs import open_log, pieces_for_terminal
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, StoreUnavailable
from runner.terminal import printable, visible

if TYPE_CHECKING:
    from runner.control.watching.alive import AliveReader
    from runner.storage.store import Store

T = TypeVar("T")

_LEAST_SECONDS = 2.0
"""Between two looks at the store."""
_DRAW_SECONDS = 0.5
_KEYS = re.compile(rb"\x1b[\[O][A-D]|[^\x1b]|\x1b", re.DOTALL)
_UP, _DOWN, _ESCAPE = (b"\x1b[A", b"\x1bOA", b"k"), (b"\x1b[B", b"\x1bOB", b"j"), b"\x1b"
_HELP = "up/down choose  l log  c cancel or stop  r resume  q quit"


def watch(store: "Store", reader: "AliveReader") -> None:
    """Show all that is alive until its person leaves. The terminal is as before then, however this ends.

    Raises:
        UserError, Damaged: from the store.
        SystemExit: SIGTERM or SIGHUP.
    """
    console = Console(highlight=False, markup=False, force_terminal=True)
    with _ending_in_order(), _keyboard() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        screen = _Screen(store, reader)
        while not screen.is_left:
            screen.catch_up(console.height)
            live.update(screen.drawn(console.width, console.height), refresh=True)
            for key in keys(_DRAW_SECONDS):
                screen.press(key)


class _Screen:
    """What is on the screen, and what keys do."""

    def __init__(self, store: "Store", reader: "AliveReader") -> None:
        self.is_left = False
        self._store = store
        self._reader = reader
        self._plain = is_plain(sys.stdout)
        self._alive: Alive | None = None
        self._log: list[str] = []
        self._look: Future[tuple[Alive, str | None, list[str]]] | None = None
        self._next_look = 0.0
        self._cancelling: Future[str] | None = None
        self._chosen: Subject | None = None
        self._log_of: str | None = None
        """The run whose log is shown; None: the table."""
        self._asked: Subject | None = None
        """The run or sweep about which is asked whether to end it."""
        self._said = ""
        """What the last line says instead of the keys."""
        self._trouble = ""
        """That the store does not answer."""

    def catch_up(self, height: int) -> None:
        """Take what was read meanwhile, and have more read if it is time.

        Raises:
            Exception: what reading raised, unless the store only does not answer now.
        """
        if self._look is not None and self._look.done():
            try:
                self._alive, log_of, log = self._look.result()
                self._log = log if log_of == self._log_of else []
                self._trouble = ""
            except StoreUnavailable as error:
                self._trouble = printable(f"the store does not answer: {error}")
            self._look = None
        if self._look is None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + max(_LEAST_SECONDS, poll_seconds(self._store))
            log_of = self._log_of
            self._look = _beside(lambda: (self._reader.look(), log_of, self._read_log(log_of, height)))
        if self._cancelling is not None and self._cancelling.done():
            self._said = self._cancelling.result()
            self._cancelling = None

    def press(self, key: bytes) -> None:
        """Do what a key asks for."""
        self._said = ""
        if self._asked is not None:
            subject, self._asked = self._asked, None
            if key in (b"y", b"Y"):
                self._said = f"{subject.name} is being {'stopped' if subject.is_sweep else 'cancelled'} ..."
                end = _stop if subject.is_sweep else _cancel
                self._cancelling = _beside(lambda: end(self._store, subject.name))
        elif key == b"q":
            if self._log_of is None:
                self.is_left = True
            self._log_of = None
        elif key == _ESCAPE:
            self._log_of = None
        elif key in _UP or key in _DOWN:
            self._choose(-1 if key in _UP else 1)
        elif self._chosen is None or self._alive is None:
            return
        elif key == b"l" and self._chosen.is_sweep:
            self._said = "a sweep has no log of its own: choose one of its trials"
        elif key == b"l":
            self._log_of = None if self._log_of else self._chosen.name
            self._log, self._next_look = [], 0.0
        elif key == b"c":
            if self._cancelling is None:
                self._asked = self._chosen
        elif key == b"r":
            self._said = self._how_to_resume(self._chosen)

    def drawn(self, width: int, height: int) -> Text:
        """Return the screen: no more lines than fit, none longer than fits."""
        body, last = self._log_lines() if self._log_of else self._table(width, height), _HELP
        if self._log_of:
            last = "the last lines of the log  l back  q back"
        if self._asked:
            last = f"Cancel {self._asked.name} for good? y/n"
            if self._asked.is_sweep:
                last = f"Stop the sweep {self._asked.name}? Its trials save and pause. y/n"
        text = Text(no_wrap=True, overflow="crop", end="")
        shown = body[-(height - 2) :] if self._log_of else body[: height - 2]
        for line in shown:
            chosen = line.subject is not None and line.subject == self._chosen and not self._log_of
            text.append(cut(visible(line.text), width, plain=self._plain) + "\n", style="reverse" if chosen else None)
        text.append("\n" * (height - 1 - len(shown)))
        said = "" if self._asked else self._said or self._trouble
        text.append(cut(said or last, width, plain=self._plain), style="bold" if self._asked or said else "dim")
        return text

    def _table(self, width: int, height: int) -> list[TopLine]:
        if self._alive is None:
            return [TopLine(text="reading the store ...")]
        lines = top_lines(self._alive, now=datetime.now(UTC), width=width, plain=self._plain)
        there = [line.subject for line in lines if line.subject is not None]
        if self._chosen not in there:
            self._chosen = there[0] if there else None
        if not lines:
            lines = [TopLine(text=f"nothing is alive in {self._store.url}")]
        lines += [TopLine(text=f"{name} is damaged: {error}") for name, error in self._alive.damaged.items()]
        if self._alive.asleep:
            lines.append(TopLine(text=f"{self._alive.asleep} more wait or are interrupted"))
        place = next((index for index, line in enumerate(lines) if line.subject and line.subject == self._chosen), 0)
        first = max(1, min(place - height // 2, len(lines) - (height - 3)))
        return [lines[0], *lines[first:]]

    def _log_lines(self) -> list[TopLine]:
        return [TopLine(text=line) for line in self._log] or [TopLine(text="no log yet")]

    def _choose(self, way: int) -> None:
        if self._alive is None or self._log_of:
            return
        lines = top_lines(self._alive, now=datetime.now(UTC), width=None)
        there = [line.subject for line in lines if line.subject is not None]
        if self._chosen in there:
            self._chosen = there[max(0, min(len(there) - 1, there.index(self._chosen) + way))]

    def _how_to_resume(self, subject: Subject) -> str:
        alive, run_id = self._alive, subject.name
        if subject.is_sweep:
            sweeps = {sweep.overview.definition.sweep_id: sweep.overview for sweep in (alive.sweeps if alive else ())}
            if run_id in sweeps and sweeps[run_id].condition == "running":
                return f"{run_id} is running: there is nothing to resume"
            return f"to resume it: {as_typed(f'sweep resume {run_id}')}"
        trials = [trial for sweep in alive.sweeps for trial in sweep.trials] if alive else []
        states = {run.status.run_id: run.status.state for run in [*(alive.runs if alive else ()), *trials]}
        if states.get(run_id) in ("interrupted", "failed"):
            return f"to resume it: {as_typed(f'resume {run_id}')}"
        return f"{run_id} is {states.get(run_id)}: there is nothing to resume"

    def _read_log(self, run_id: str | None, height: int) -> list[str]:
        if run_id is None:
            return []
        try:
            pieces, _ = open_log(self._store, run_id, tail=height)
            return list(lines_of(pieces_for_terminal(pieces)))
        except (Damaged, NotFound) as error:
            return [f"its log cannot be read: {error}"]


def _cancel(store: "Store", run_id: str) -> str:
    """Cancel a run; what became of it, in one line."""
    try:
        status = cancel_run(store, run_id, say=lambda sentence: None)
    except (UserError, StoreUnavailable, NotFound, Damaged, OSError) as error:
        return printable(hide_tokens(f"{run_id} is not cancelled: {error}"))
    return f"{run_id} is {status.state}" if status.terminal else f"{run_id} was asked to end, and has not yet"


def _stop(store: "Store", sweep_id: str) -> str:
    """Stop a sweep; what became of it, in one line."""
    try:
        stopped = stop_sweep(store, sweep_id, say=lambda sentence: None)
    except (UserError, StoreUnavailable, NotFound, Damaged, OSError) as error:
        return printable(hide_tokens(f"{sweep_id} is not stopped: {error}"))
    if not stopped.proven:
        return f"{sweep_id} was told to stop; `{as_typed(f'sweep stop {sweep_id}')}` says what is still there"
    return f"{sweep_id} is stopped; `{as_typed(f'sweep resume {sweep_id}')}` goes on with it"


def _beside(call: Callable[[], T]) -> "Future[T]":
    """Call something in a thread that the program does not wait for when it ends."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 (whoever asks for the result gets it)
            future.set_exception(error)

    threading.Thread(target=work, name="top", daemon=True).start()
    return future


@contextmanager
def _keyboard() -> Iterator[Callable[[float], list[bytes]]]:
    """Within, keys arrive one by one, are not shown, and Ctrl-Z does nothing: what it is given waits for keys."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        within = termios.tcgetattr(descriptor)
        within[6][termios.VSUSP] = bytes([os.fpathconf(descriptor, "PC_VDISABLE") & 0xFF])
        termios.tcsetattr(descriptor, termios.TCSANOW, within)
        yield lambda seconds: _pressed(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _pressed(descriptor: int, seconds: float) -> list[bytes]:
    """Return the keys that were pressed, as soon as there are any; ``q`` if nobody can press one any more."""
    if not select.select([descriptor], [], [], seconds)[0]:
        return []
    return _KEYS.findall(os.read(descriptor, 1024)) or [b"q"]


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP end the program as an exception does."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
