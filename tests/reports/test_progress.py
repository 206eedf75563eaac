"""Whoever watches a run sees what it does, on a terminal and in a log."""

import io
from typing import Any

import pytest

from runner.reports import progress
from runner.reports.progress import EtaEstimator, PlainDisplay, TerminalDisplay, open_display, progress_line
from runner.runs.status import RunStatus


def status(**values: Any) -> RunStatus:
    """A run that is training, except for these values."""
    known = {"run_id": "r", "recipe": "r", "infra": "local", "created_at": "2026-01-01T00:00:00Z", "attempts": 1}
    return RunStatus(**{**known, "state": "running", "phase": "training", "max_steps": 60, **values})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


FULL = status(step=12, loss=2.31, tokens_per_second=1800.4, checkpoint_step=10)


def test_the_facts_stand_in_one_line() -> None:
    expected = "step 12/60 · loss 2.3100 · 1,800 tokens/s · 40s left · checkpoint at 10"
    assert progress_line(FULL, 40.0) == expected
    assert progress_line(status(), None) == ""
    assert (
        progress_line(status(step=1, stage="sft", stage_number=2, stage_count=3), None) == "stage 2/3 (sft) · step 1/60"
    )


def test_a_log_gets_a_line_when_something_changed_and_not_too_often() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, every_seconds=0)
    for shown in (status(state="interrupted", phase=None), status(phase="loading", message="data"), FULL, FULL):
        display.show(shown)
    display.say("attempt 2 continues from step 10")
    assert stream.getvalue().splitlines() == [
        "starting",
        "loading (data)",
        "training: step 12/60 · loss 2.3100 · 1,800 tokens/s · checkpoint at 10",
        "attempt 2 continues from step 10",
    ]
    stream = io.StringIO()
    display = PlainDisplay(stream, every_seconds=60)
    for step in range(50):
        display.show(status(step=step))
    assert len(stream.getvalue().splitlines()) == 1


def test_time_left_is_estimated_when_the_attempt_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    estimator = EtaEstimator()
    assert estimator.seconds_left(status(phase="loading")) is None
    assert estimator.seconds_left(status(step=10)) is None
    now[0] = 20.0
    assert estimator.seconds_left(status(step=20)) == pytest.approx(80.0)
    assert estimator.seconds_left(status(step=20, eta_seconds=5.0)) == 5.0
    assert estimator.seconds_left(status(step=15, attempts=2)) is None  # another attempt: another pace


def test_a_terminal_gets_a_bar_with_sentences_above_it() -> None:
    stream = Terminal()
    display = TerminalDisplay(stream)
    display.show(FULL)
    display.say("warning: [not markup]")
    display.close()
    text = stream.getvalue()
    assert "warning: [not markup]" in text
    assert "loss 2.3100" in text
    assert "\x1b[?25h" in text  # the cursor is given back


def test_the_display_fits_where_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_display(io.StringIO()), PlainDisplay)
    display = open_display(Terminal())
    assert isinstance(display, TerminalDisplay)
    display.close()
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_display(Terminal()), PlainDisplay)
