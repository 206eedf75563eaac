"""A run's progress while somebody watches: a bar on a terminal, a line every few seconds elsewhere."""

import os
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from runner.reports.tables import duration, number

if TYPE_CHECKING:
    from rich.console import RenderableType


class Look(Protocol):
    """One look at a run, as far as it is displayed."""

    @property
    def state(self) -> str:
        """Where the run stands."""

    @property
    def attempts(self) -> int:
        """The number of its newest attempt."""

    @property
    def phase(self) -> str | None:
        """What the attempt is doing."""

    @property
    def step(self) -> int | None:
        """Optimizer steps taken."""

    @property
    def max_steps(self) -> int | None:
        """Optimizer steps in all."""

    @property
    def stage(self) -> str | None:
        """Of a run with stages: which one the steps are of."""

    @property
    def stage_number(self) -> int | None:
        """Its place among them, counted from 1."""

    @property
    def stage_count(self) -> int | None:
        """How many there are."""

    @property
    def loss(self) -> float | None:
        """The last training loss."""

    @property
    def tokens_per_second(self) -> float | None:
        """Training speed."""

    @property
    def eta_seconds(self) -> float | None:
        """Time left."""

    @property
    def checkpoint_step(self) -> int | None:
        """The step of the last durable checkpoint."""

    @property
    def message(self) -> str | None:
        """What the attempt wants to be known."""


class Display(Protocol):
    """Shows looks at a run, and sentences in between. Closed at the end."""

    def show(self, look: Look) -> None:
        """The run looks like this now."""

    def say(self, sentence: str) -> None:
        """Something happened."""

    def close(self) -> None:
        """Nothing more comes."""


def open_display(stream: TextIO) -> Display:
    """The display that fits where `stream` (standard error) leads."""
    if stream.isatty() and os.environ.get("TERM", "") != "dumb":
        return TerminalDisplay(stream)
    return PlainDisplay(stream)


def progress_line(look: Look, seconds_left: float | None) -> str:
    """A look in one line: ``step 12/60 · loss 2.31 · 1800 tokens/s · 40s left · checkpoint at 10``.

    Of a run with stages, with the stage in front: ``stage 2/3 (sft) · step …``; the time left is the stage's.
    """
    words = []
    if look.stage is not None:
        words.append(f"stage {look.stage_number or '?'}/{look.stage_count or '?'} ({look.stage})")
    if look.step is not None:
        words.append(f"step {look.step}/{look.max_steps or '?'}")
    if look.loss is not None:
        words.append(f"loss {number(look.loss)}")
    if look.tokens_per_second is not None:
        words.append(f"{look.tokens_per_second:,.0f} tokens/s")
    if seconds_left is not None:
        words.append(f"{duration(seconds_left)} left")
    if look.checkpoint_step is not None:
        words.append(f"checkpoint at {look.checkpoint_step}")
    return " · ".join(words)


def phase(look: Look) -> str:
    """What the attempt is doing, in its own words if it has any."""
    if look.state in ("pending", "interrupted"):  # the next attempt has not claimed the run yet
        return "starting"
    return f"{look.phase or look.state} ({look.message})" if look.message else look.phase or look.state


class EtaEstimator:
    """Estimates the time left from the looks so far, for attempts that do not say it themselves."""

    def __init__(self) -> None:
        self._attempt: tuple[int, str | None] = (0, None)
        self._first: tuple[float, int] | None = None

    def seconds_left(self, look: Look) -> float | None:
        """Time left in training as of `look`, the next one in time; None as long as it cannot be told."""
        if look.eta_seconds is not None:
            return look.eta_seconds
        if look.phase != "training" or look.step is None or look.max_steps is None:
            return None
        if self._first is None or self._attempt != (look.attempts, look.stage):
            self._attempt = (look.attempts, look.stage)
            self._first = (time.monotonic(), look.step)
        began, first_step = self._first
        if look.step <= first_step:
            return None
        return (time.monotonic() - began) / (look.step - first_step) * (look.max_steps - look.step)


class PlainDisplay:
    """Lines, for logs and CI: what changed, at most one every `every_seconds`."""

    def __init__(self, stream: TextIO, *, every_seconds: float = 5.0) -> None:
        self._stream = stream
        self._every_seconds = every_seconds
        self._pace = EtaEstimator()
        self._shown = ""
        self._shown_at = float("-inf")

    def show(self, look: Look) -> None:
        """See `Display.show`."""
        line = f"{phase(look)}: {progress_line(look, self._pace.seconds_left(look))}".removesuffix(": ")
        if line != self._shown and time.monotonic() - self._shown_at >= self._every_seconds:
            self.say(line)
            self._shown = line
            self._shown_at = time.monotonic()

    def say(self, sentence: str) -> None:
        """See `Display.say`."""
        print(sentence, file=self._stream, flush=True)

    def close(self) -> None:
        """See `Display.close`."""


class TerminalDisplay:
    """A bar with the facts below it, drawn over and over, with sentences scrolling above."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # here: the attempt is started before this costs its tenth of a second
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
        self._task = self._bar.add_task("starting", total=None)
        self._facts = ""
        self._pace = EtaEstimator()
        console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self._live = Live(get_renderable=self._rendered, console=console, transient=True, refresh_per_second=4)
        self._live.start()

    def show(self, look: Look) -> None:
        """See `Display.show`."""
        self._bar.update(self._task, total=look.max_steps, completed=look.step or 0, description=phase(look))
        self._facts = progress_line(look, self._pace.seconds_left(look))

    def say(self, sentence: str) -> None:
        """See `Display.say`."""
        self._live.console.print(sentence)

    def close(self) -> None:
        """See `Display.close`."""
        self._live.stop()

    def _rendered(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        return Group(self._bar, Text(self._facts, no_wrap=True, overflow="ellipsis"))
