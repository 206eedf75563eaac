"""Show a run's progress while a command follows it: a bar on a terminal, a line every few seconds elsewhere."""

import os
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from runner.reports.tables import duration, number
from runner.runs.status import RunStatus
from runner.terminal import visible

if TYPE_CHECKING:
    from rich.console import RenderableType


class Display(Protocol):
    """Shows a run's status again and again, and sentences in between. Must be closed at the end."""

    def show(self, status: RunStatus) -> None:
        """Show the run's newest status."""

    def say(self, sentence: str) -> None:
        """Print a sentence about something that happened."""

    def close(self) -> None:
        """Release the terminal; nothing may be shown afterwards."""


def open_display(stream: TextIO) -> Display:
    """Return a bar if `stream` (standard error) is a terminal, else lines for a log."""
    if stream.isatty() and os.environ.get("TERM", "") != "dumb":
        return TerminalDisplay(stream)
    return PlainDisplay(stream)


def progress_line(status: RunStatus, seconds_left: float | None) -> str:
    """Return the status in one line: ``step 12/60 · loss 2.31 · 1800 tokens/s · 40s left · checkpoint at 10``.

    For a run with stages, the stage comes first: ``stage 2/3 (sft) · step …``, and the time left is the stage's.
    """
    words = []
    if status.stage is not None:
        words.append(f"stage {status.stage_number or '?'}/{status.stage_count or '?'} ({status.stage})")
    if status.step is not None:
        words.append(f"step {status.step}/{status.max_steps or '?'}")
    if status.loss is not None:
        words.append(f"loss {number(status.loss)}")
    if status.tokens_per_second is not None:
        words.append(f"{status.tokens_per_second:,.0f} tokens/s")
    if seconds_left is not None:
        words.append(f"{duration(seconds_left)} left")
    if status.checkpoint_step is not None:
        words.append(f"checkpoint at {status.checkpoint_step}")
    return " · ".join(words)


def describe_phase(status: RunStatus) -> str:
    """Say what the attempt is doing, with its own message if it has one."""
    if status.state in ("pending", "interrupted"):  # the next attempt has not claimed the run yet
        return "starting"
    phase = status.phase or status.state
    notes = ", ".join(note for note in (status.message, status.stalled) if note)
    return f"{phase} ({notes})" if notes else phase


class EtaEstimator:
    """Estimates the time left from the steps seen so far, for attempts that do not report it themselves."""

    def __init__(self) -> None:
        self._attempt: tuple[int, str | None] = (0, None)
        self._first: tuple[float, int] | None = None

    def seconds_left(self, status: RunStatus) -> float | None:
        """Return the time left in training as of `status`, the newest one; None if unknown yet."""
        if status.eta_seconds is not None:
            return status.eta_seconds
        if status.phase != "training" or status.step is None or status.max_steps is None:
            return None
        if self._first is None or self._attempt != (status.attempts, status.stage):
            self._attempt = (status.attempts, status.stage)
            self._first = (time.monotonic(), status.step)
        began, first_step = self._first
        if status.step <= first_step:
            return None
        return (time.monotonic() - began) / (status.step - first_step) * (status.max_steps - status.step)


class PlainDisplay:
    """Prints lines, for logs and CI: only if something changed, and at most one every `every_seconds`."""

    def __init__(self, stream: TextIO, *, every_seconds: float = 5.0) -> None:
        self._stream = stream
        self._every_seconds = every_seconds
        self._eta = EtaEstimator()
        self._shown = ""
        self._shown_at = float("-inf")

    def show(self, status: RunStatus) -> None:
        """See `Display.show`."""
        line = f"{describe_phase(status)}: {progress_line(status, self._eta.seconds_left(status))}".removesuffix(": ")
        if line != self._shown and time.monotonic() - self._shown_at >= self._every_seconds:
            self.say(line)
            self._shown = line
            self._shown_at = time.monotonic()

    def say(self, sentence: str) -> None:
        """See `Display.say`."""
        print(visible(sentence), file=self._stream, flush=True)

    def close(self) -> None:
        """See `Display.close`."""


class TerminalDisplay:
    """Redraws a bar with the progress line below it; sentences scroll above."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # not above: costs 0.1 s, and the attempt starts before it
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), TimeElapsedColumn()
        )
        self._task = self._bar.add_task("starting", total=None)
        self._line = ""
        self._eta = EtaEstimator()
        console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self._live = Live(get_renderable=self._render, console=console, transient=True, refresh_per_second=4)
        self._live.start()

    def show(self, status: RunStatus) -> None:
        """See `Display.show`."""
        self._bar.update(
            self._task, total=status.max_steps, completed=status.step or 0, description=describe_phase(status)
        )
        self._line = progress_line(status, self._eta.seconds_left(status))

    def say(self, sentence: str) -> None:
        """See `Display.say`."""
        self._live.console.print(visible(sentence))

    def close(self) -> None:
        """See `Display.close`."""
        self._live.stop()

    def _render(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        return Group(self._bar, Text(self._line, no_wrap=True, overflow="ellipsis"))
