"""What a person sees while a sweep is followed, and how the command ends."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from runner.cli.follow_sweep import follow
from runner.control.sweeping.launch import LaunchedSweep
from runner.storage.local import LocalStore
from runner.sweeps.events import Event
from support.stored import running
from support.sweeping.launched import launched, tell, trained

VALUES = {"learning_rate": 0.002, "lora_r": 4}
SETTINGS = {"training.learning_rate": 0.002, "adapter.r": 4}
SUCCEEDED: Event = {"event": "ended", "state": "succeeded", "reason": "all trials are done: trial 0 is the best"}


class Terminal(io.StringIO):
    """A terminal that keeps all that was written to it."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    """A command that is running, since hints are what its person can type."""
    with click.Context(click.Command("launch"), info_name="runner").scope():
        yield


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def followed(store: LocalStore, folder: Path, *events: Event, **options: Any) -> int:
    definition = launched(store, folder)
    tell(store, {"event": "joined", "worker": "w"}, *events)
    sweep = LaunchedSweep(sweep_id="sweep", definition=definition, detached=True)
    return follow(store, sweep, **{"detach": False, "as_json": False, **options})


def test_each_event_is_a_line_where_no_terminal_is(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert followed(store, tmp_path, *trained(0, VALUES, value=2.5, settings=SETTINGS), SUCCEEDED) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert "trial 0: learning_rate 0.0020, lora_r 4" in lines
    assert "trial 0 trains to its end on w" in lines
    assert "trial 0 is trained to its end: eval_loss 2.5000" in lines
    assert any(line.startswith("best so far: trial 0, eval_loss 2.5") for line in lines)
    assert "sweep best sweep --out best.yaml" in shown.err


def test_who_goes_on_with_a_sweep_is_not_told_again_what_was_before(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    definition = launched(store, tmp_path)
    tell(store, {"event": "joined", "worker": "w"}, *trained(0, VALUES, value=2.5, settings=SETTINGS))
    tell(store, *trained(1, VALUES, value=2.0, settings=SETTINGS), SUCCEEDED)
    sweep = LaunchedSweep(sweep_id="sweep", definition=definition, detached=True, since=1)
    assert follow(store, sweep, detach=False, as_json=False) == 0
    shown = capsys.readouterr().err.splitlines()
    assert "trial 1 is trained to its end: eval_loss 2.0000" in shown
    assert not any(line.startswith("trial 0 ") for line in shown)


def test_a_terminal_gets_a_table_that_is_taken_away_in_the_end(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    definition = launched(store, tmp_path)
    tell(store, {"event": "joined", "worker": "w"}, *trained(0, VALUES, value=2.5, settings=SETTINGS)[:2])
    sweep = LaunchedSweep(sweep_id="sweep", definition=definition, detached=True)

    def end_it(seconds: float) -> None:
        tell(store, trained(0, VALUES, value=2.5, settings=SETTINGS)[2], SUCCEEDED)

    monkeypatch.setattr("runner.control.sweeping.follow.time.sleep", end_it)
    assert follow(store, sweep, detach=False, as_json=False) == 0
    drawn, _, after = terminal.getvalue().rpartition("\x1b[2K")
    assert "STEP  REACHED  WENT ON" in drawn
    assert "trains to its end" in drawn
    assert "STEP  REACHED" not in after
    assert all(len(line) <= 200 for line in drawn.splitlines())


def test_the_table_has_what_trains_now_with_the_step_that_it_is_at(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")  # room for four trials
    definition = launched(store, tmp_path, run_cap=30)
    for number in range(10):
        tell(store, *trained(number, VALUES, value=2.5 + number, settings=SETTINGS))
    tell(store, {"event": "joined", "worker": "w"}, *trained(10, VALUES, value=1.0, settings=SETTINGS)[:2])
    running(store, "sweep-0010", losses=[3.0] * 17)
    sweep = LaunchedSweep(sweep_id="sweep", definition=definition, detached=True)
    monkeypatch.setattr("runner.control.sweeping.follow.time.sleep", lambda seconds: tell(store, SUCCEEDED))
    assert follow(store, sweep, detach=False, as_json=False) == 0
    rows = [
        line.split()[:3]
        for line in terminal.getvalue().splitlines()
        if line.split()[1:2] in (["finished"], ["running"])
    ]
    assert rows[:4] == [  # and once more when it is taken away
        ["0", "finished", "120"],
        ["1", "finished", "120"],
        ["2", "finished", "120"],
        ["10", "running", "17/30"],
    ]


@pytest.mark.parametrize(
    ("event", "code", "words"),
    [
        (
            {"event": "ended", "state": "failed", "reason": "no trial of 1 was trained to its end"},
            1,
            "failed: no trial",
        ),
        ({"event": "stop_requested", "reason": "the budget is spent: $5.00 of $5.00"}, 75, "the budget is spent"),
    ],
)
def test_how_it_ends_is_the_exit_code_and_what_to_do_is_said(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], event: Event, code: int, words: str
) -> None:
    assert followed(store, tmp_path, event) == code
    shown = capsys.readouterr().err
    assert words in shown
    assert "sweep resume sweep" in shown
    assert "sweep best" not in shown, "there is no best trial"


def test_the_outcome_as_json(store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    followed(store, tmp_path, *trained(3, VALUES, value=2.5, settings=SETTINGS), SUCCEEDED, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "sweep_id": "sweep",
        "state": "succeeded",
        "reason": "all trials are done: trial 0 is the best",
        "best": 3,
        "value": 2.5,
        "store": store.url,
    }


def test_detached_it_prints_its_id_and_how_to_look(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert followed(store, tmp_path, detach=True) == 0
    shown = capsys.readouterr()
    assert shown.out == "sweep\n"
    assert "sweep status sweep" in shown.err
    assert "sweep stop sweep" in shown.err
