"""`sweep resume` refuses what no worker could go on with: nothing is written, and no machine is paid for."""

from pathlib import Path
from typing import Any

import pytest

from runner.control.sweeping.resume import ResumeSweepOptions, resume_sweep
from runner.errors import UserError
from runner.storage.store import Store
from runner.sweeps.definition import read_definition
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from support.sweeping.launched import launched, tell, trained

SETTINGS = {"training.learning_rate": 1e-3, "adapter.r": 4}
ENDED: Event = {"event": "ended", "state": "succeeded", "reason": "all trials are done: trial 0 is the best"}


def ended_sweep(store: Store, folder: Path, **changes: Any) -> None:
    """A sweep of one trial that was trained to its end."""
    launched(store, folder, run_cap=1, runner={"set": {"training.max_steps": 120}}, **changes)
    tell(store, *trained(0, {"learning_rate": 1e-3, "lora_r": 4}, value=1.0, settings=SETTINGS), ENDED)


def refused(store: Store, **options: Any) -> UserError:
    """Why going on is refused; the journal stays as it was."""
    journal = Journal(store, read_definition(store, "sweep"), by="test")
    before = journal.catch_up().number
    with pytest.raises(UserError) as error:
        resume_sweep(store, ResumeSweepOptions(sweep_id="sweep", **options), say=print)
    assert journal.catch_up().number == before
    return error.value


def test_a_sweep_whose_trials_are_all_done_is_not_resumed(memory: Store, tmp_path: Path) -> None:
    ended_sweep(memory, tmp_path)
    error = refused(memory)
    assert error.what == "nothing is left to train: all trials are done: trial 0 is the best, eval_loss 1"
    assert error.remedy == "`--run-cap 2` draws more trials"
    assert "nothing is left" in refused(memory, max_cost=100.0).what


def test_a_sweep_that_came_to_its_target_is_not_resumed_for_more_trials(memory: Store, tmp_path: Path) -> None:
    ended_sweep(memory, tmp_path, metric={"name": "eval/loss", "goal": "minimize", "target": 1.5})
    error = refused(memory, run_cap=20)
    assert "trial 0 reached the target" in error.what
    assert "metric.target" in (error.remedy or "")


def test_a_failed_trial_is_named_as_what_may_be_trained_again(memory: Store, tmp_path: Path) -> None:
    ended_sweep(memory, tmp_path)
    failed: Any = {"event": "failed", "worker": "w", "kind": "diverged", "reason": "loss is nan", "seconds": 1.0}
    drawn, taken, _ = trained(1, {"learning_rate": 1e-2, "lora_r": 4}, value=None, settings=SETTINGS)
    tell(memory, drawn, taken, {**failed, "trial": 1})
    assert "`runner sweep retry sweep`" in (refused(memory).remedy or "")


def test_a_budget_that_is_spent_is_refused_before_anything_is_written(memory: Store, tmp_path: Path) -> None:
    launched(memory, tmp_path)
    joined: Event = {"event": "joined", "worker": "w", "dollars_per_hour": 3.6e12}
    tell(memory, joined, {"event": "stop_requested", "reason": "enough"})
    assert "the budget is spent" in refused(memory, max_cost=1e-9).what
