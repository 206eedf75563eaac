"""When training counts as hanging, on a clock of the test's own."""

from collections.abc import Mapping
from typing import Any

import pytest

from runner.recipe.recipe import Watchdog as Settings
from runner.train.agent.hangs.watchdog import Hang, Watchdog, in_words

MINUTE = 60.0
USUAL = Settings()


class Clock:
    """A watchdog that is asked every two seconds, while time passes."""

    def __init__(self, settings: Settings = USUAL) -> None:
        self.watchdog = Watchdog(settings)
        self.now = 1000.0
        self.watchdog.look(now=self.now)

    def report(self, **progress: Any) -> None:
        self.watchdog.note(progress, now=self.now)

    def steps(self, *, seconds: float, to: int = 5) -> None:
        """Take steps of this length."""
        self.report(phase="training")
        for step in range(1, to + 1):
            assert self.passes(seconds) is None
            self.report(phase="training", step=step)

    def passes(self, seconds: float, **seen: bool) -> Hang | None:
        """Let time pass; return the hang that is seen first."""
        until = self.now + seconds
        while self.now < until:
            self.now += 2.0
            if (hang := self.watchdog.look(now=self.now, **seen)) is not None:
                return hang
        return None


def test_no_step_for_ten_minutes_is_a_hang_once_the_pace_is_known() -> None:
    clock = Clock()
    clock.steps(seconds=20)
    assert clock.passes(10 * MINUTE) is None
    hang = clock.passes(4)
    assert hang is not None
    assert (hang.phase, hang.step, hang.limit_seconds) == ("training", 5, 600.0)
    assert hang.describe() == "no step for 10 min, after step 5"


def test_a_processor_at_work_proves_nothing_between_two_steps() -> None:
    """NCCL waits for a lost process in a loop, and so does a reward function that never returns."""
    clock = Clock()
    clock.steps(seconds=20)
    assert clock.passes(10 * MINUTE + 4, busy=True) is not None


def test_long_steps_have_ten_times_their_median() -> None:
    clock = Clock()
    clock.steps(seconds=5 * MINUTE)
    assert clock.passes(50 * MINUTE, busy=True) is None
    assert clock.passes(4) is not None


def test_steps_of_two_kinds_have_twice_the_longer() -> None:
    """GRPO with `num_iterations: 4` generates and asks its judge in each fourth step only, the first one included."""
    clock = Clock()
    clock.report(phase="training")
    assert clock.passes(12 * MINUTE, busy=True) is None
    for step in range(1, 5):
        clock.report(phase="training", step=step)
        assert clock.passes(30) is None
    assert clock.passes(23 * MINUTE) is None
    assert clock.passes(2 * MINUTE) is not None


def test_one_long_step_among_short_ones_changes_little() -> None:
    clock = Clock()
    clock.steps(seconds=20, to=9)
    assert clock.passes(9 * MINUTE) is None  # an evaluation, say
    clock.report(phase="training", step=10)
    assert clock.passes(18 * MINUTE + 10) is not None


def test_the_first_steps_may_take_longer() -> None:
    """They compile, or a judge is asked about the first batch."""
    clock = Clock()
    clock.report(phase="training")
    assert clock.passes(30 * MINUTE) is None
    hang = clock.passes(4)
    assert hang is not None
    assert hang.describe() == "no step for 30 min, in the first step"
    compiling = Clock()
    compiling.report(phase="training")
    assert compiling.passes(119 * MINUTE, busy=True) is None
    assert compiling.passes(2 * MINUTE, busy=True) is not None


@pytest.mark.parametrize("phase", ["loading", "evaluating", "exporting", "uploading"])
def test_outside_training_whoever_is_at_work_has_two_hours_and_whoever_moves_bytes_for_ever(phase: str) -> None:
    clock = Clock()
    clock.report(phase=phase)
    assert clock.passes(119 * MINUTE, busy=True) is None
    clock.report()
    assert clock.passes(24 * 60 * MINUTE, read_bytes=True) is None
    assert clock.passes(29 * MINUTE) is None
    hang = clock.passes(2 * MINUTE)
    assert hang is not None
    assert hang.describe() == f"no progress for 30 min while {phase}"


def test_batches_are_progress_also_within_a_step() -> None:
    clock = Clock()
    clock.steps(seconds=20)
    for _ in range(20):
        assert clock.passes(9 * MINUTE) is None
        clock.report()


def test_an_upload_that_training_waits_for_is_progress() -> None:
    clock = Clock()
    clock.steps(seconds=20)
    assert clock.passes(3 * 60 * MINUTE, read_bytes=True) is None


def test_a_stopped_process_has_the_timeout_whatever_it_does() -> None:
    clock = Clock()
    clock.report(phase="loading", message="model")
    hang = clock.passes(11 * MINUTE, stopped=True)
    assert hang is not None
    assert hang.describe() == "no progress for 10 min while loading (model)"


def test_a_suspended_machine_is_no_hang() -> None:
    clock = Clock()
    clock.steps(seconds=20)
    clock.now += 12 * 60 * MINUTE
    assert clock.watchdog.look(now=clock.now) is None


@pytest.mark.parametrize("timeout", [None, 0.0])
def test_it_can_be_turned_off(timeout: float | None) -> None:
    clock = Clock(Settings(timeout_seconds=timeout))
    clock.steps(seconds=20)
    assert clock.passes(48 * 60 * MINUTE) is None


def test_another_stage_has_a_pace_of_its_own() -> None:
    clock = Clock()
    clock.steps(seconds=2)
    clock.report(stage="dpo", stage_number=2, step=None)
    clock.report(phase="training")
    assert clock.passes(29 * MINUTE) is None


def test_a_resumed_run_counts_on_from_the_checkpoint() -> None:
    clock = Clock()
    clock.report(step=40)
    clock.report(phase="training")
    hang = clock.passes(31 * MINUTE)
    assert hang is not None
    assert hang.describe() == "no step for 30 min, after step 40"


def test_it_warns_when_half_of_the_time_is_over() -> None:
    clock = Clock()
    clock.steps(seconds=20)
    assert clock.passes(4 * MINUTE) is None
    assert clock.watchdog.warning() is None
    clock.passes(2 * MINUTE)
    expected = "no step for 6 min, after step 5; after 10 min the attempt is ended and tried again"
    assert clock.watchdog.warning() == expected


def test_times_in_words() -> None:
    known: Mapping[float, str] = {40: "40 s", 600: "10 min", 7500: "2 h 5 min"}
    assert {seconds: in_words(seconds) for seconds in known} == known
