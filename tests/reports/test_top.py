"""The table of what is alive fits."""

from datetime import UTC, datetime

import pytest

from runner.reports.top import Alive, Subject, WatchedRun, top_lines
from runner.runs.measured.recent import Details
from runner.runs.status import RunStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GPUS = [{"index": index, "utilization_percent": 50.0, "memory_gib": 10.0 * index} for index in range(8)]


def watched(run_id: str, **status: object) -> WatchedRun:
    known = {"recipe": "r", "state": "running", "infra": "aws", "created_at": "2026-01-01T00:00:00+00:00", **status}
    details = Details(losses=[(step, 5.0 / step) for step in range(1, 400)], checkpoint_at=NOW, system={"gpus": GPUS})
    return WatchedRun(status=RunStatus(run_id=run_id, **known), details=details)  # type: ignore[arg-type]


def alive(*runs: WatchedRun) -> Alive:
    return Alive(runs=runs, sweeps=[], asleep=0, damaged={})


@pytest.mark.parametrize("plain", [False, True])
def test_no_line_is_longer_than_the_width_and_more_width_shows_more(plain: bool) -> None:
    many = alive(
        watched("r" * 90, phase="training", step=12, max_steps=900, loss=1.25, message="the store is away " * 9),
        watched("short", state="interrupted", reason="preempted " * 20, cost=12.5, attempts=3),
    )
    lines = []
    for width in range(20, 220, 7):
        lines = top_lines(many, now=NOW, width=width, plain=plain)
        assert max(len(line.text) for line in lines) <= width
        assert [line.subject for line in lines[:3]] == [None, Subject("r" * 90), Subject("short")]
        assert not plain or all(line.text.isascii() for line in lines)
    titles = " ".join(lines[0].text.split())
    assert titles == "RUN STATE STEP LOSS CURVE GPU GPU GIB SAVED COST ATTEMPTS"


def test_of_several_gpus_the_mean_use_and_the_fullest_memory_are_shown() -> None:
    text = top_lines(alive(watched("run")), now=NOW, width=None)[1].text
    assert " 8x 50% " in text
    assert " 70.0 " in text


def test_what_a_run_will_cost_follows_from_what_an_hour_costs() -> None:
    assert watched("run", cost=1.0, cost_per_hour=3.0, eta_seconds=1200.0).forecast == 2.0
    assert watched("run", cost=1.0, eta_seconds=1200.0).forecast is None


def test_nothing_alive_is_no_line() -> None:
    assert top_lines(alive(), now=NOW, width=80) == []
