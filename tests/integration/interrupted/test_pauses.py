"""A trial that pauses at its rungs ends as one that trains straight through: same weights, bit for bit, and metrics."""

import signal
from pathlib import Path
from typing import Any

import pytest

from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.metrics import read_metrics
from runner.runs.status import run_status
from runner.storage.open import open_store
from runner.storage.store import Store
from support.forked import Attempts, Moment
from support.references import References
from support.runs import NEVER_EVALUATED, assert_same, outcome, recipe, submit
from support.stage_recipes import STAGED, staged_outcome
from support.thorough import cases

STEP = "runner.train.methods.sft:ResumableSFTTrainer.training_step"
WORKERS_START = "runner.train.agent.worker_group:WorkerGroup.start"
END = "runner.train.stages.artifacts:save_model"


def ended(store: Store, run_id: str) -> dict[str, Any]:
    """The record of how the newest attempt ended."""
    record = attempts(store, run_id)[-1].ended
    assert record is not None
    return dict(record)


def pause(forked: Attempts, run_id: str, step: int) -> None:
    """Have an attempt pause at a step, and check that it did, and that its checkpoint is in the store."""
    store = open_store(forked.store_url)
    assert forked.run(run_id, until_step=step) == 75, forked.log(run_id)
    record = ended(store, run_id)
    assert record.get("paused") is True, forked.log(run_id)
    assert record["retry"] is False
    assert record["exit_code"] == 75
    assert record["reason"] == f"paused at step {step}, as its sweep asked"
    assert checkpoints(store, run_id)[0].step == step


def recorded(store: Store, run_id: str) -> list[tuple[str, int]]:
    """Which metrics there are, in order."""
    return [(record["kind"], record["step"]) for record in read_metrics(store, run_id)]


@pytest.mark.parametrize("kind", cases(["full", "lora"], quick=lambda kind: kind == "lora"))
def test_paused_and_killed_in_between_it_ends_as_if_it_had_trained_straight_through(
    kind: str, references: References, forked: Attempts, data: Path
) -> None:
    """Step 2 has no checkpoint of its own, 4 has an evaluation, 9 a checkpoint anyway."""
    what = recipe(data, adapter=kind == "lora")
    store, run_id = open_store(forked.store_url), f"pauses-{kind}"
    submit(store, run_id, what)
    assert forked.run(run_id, Moment(STEP, 3), until_step=2) == 75, forked.log(run_id)
    assert "paused" not in ended(store, run_id)
    pause(forked, run_id, 2)
    pause(forked, run_id, 4)
    assert recorded(store, run_id)[-2:] == [("train", 4), ("eval", 4)]
    status = run_status(store, run_id)
    assert (status.state, status.shown_state, status.step, status.max_steps) == ("interrupted", "paused", 4, 12)
    assert forked.run(run_id, Moment(STEP, 8, saves=1), until_step=9) == 75, forked.log(run_id)
    pause(forked, run_id, 9)
    assert forked.run(run_id, Moment(END)) == 75, forked.log(run_id)
    assert not run_status(store, run_id).paused
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), references(what).outcome)


@pytest.mark.parametrize("kind", cases(["epoch", "steps"], quick=lambda kind: kind == "epoch"))
def test_paused_at_the_ends_of_epochs_it_ends_the_same(
    kind: str, references: References, forked: Attempts, data: Path
) -> None:
    """Epochs of 13 steps: 52 rows in steps of 4."""
    what = recipe(data, adapter=True, max_steps=28, eval_strategy=kind, eval_steps=13, early_stopping_patience=9)
    store, run_id = open_store(forked.store_url), f"epochs-{kind}"
    submit(store, run_id, what)
    for step in (13, 20, 26):
        assert forked.run(run_id, Moment(STEP, 8, saves=1), until_step=step) == 75, forked.log(run_id)
        pause(forked, run_id, step)
        assert (("eval", step) in recorded(store, run_id)) == (step != 20)
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), references(what).outcome)


@pytest.mark.thorough
def test_a_pause_at_the_last_step_or_after_it_is_none(references: References, forked: Attempts, data: Path) -> None:
    what = recipe(data, adapter=True)
    store = open_store(forked.store_url)
    for step in (12, 40):
        submit(store, f"to-the-end-{step}", what)
        assert forked.run(f"to-the-end-{step}", until_step=step) == 0
        assert_same(outcome(store, f"to-the-end-{step}"), references(what).outcome)


@pytest.mark.thorough
def test_training_that_stops_early_at_the_very_step_is_over(
    references: References, forked: Attempts, data: Path
) -> None:
    """Also if it is killed while it ends: the next attempt finds the last step, and does not pause there."""
    what = recipe(data, adapter=True, greater_is_better=True, early_stopping_patience=1)
    store, run_id = open_store(forked.store_url), "stops-early"
    submit(store, run_id, what)
    stopped = references(what).outcome["step"]
    assert stopped < 12, "it stops early"
    assert forked.run(run_id, Moment(END), until_step=stopped) == 75
    assert forked.run(run_id, until_step=stopped) == 0, forked.log(run_id)
    assert_same(outcome(store, run_id), references(what).outcome)


def test_an_attempt_at_a_run_that_is_there_already_starts_no_process(forked: Attempts, data: Path) -> None:
    store, run_id = open_store(forked.store_url), "there-already"
    submit(store, run_id, recipe(data, adapter=True, **NEVER_EVALUATED))
    pause(forked, run_id, 5)
    before = recorded(store, run_id)
    for step in (5, 2):
        assert forked.run(run_id, Moment(WORKERS_START, in_attempt=True), until_step=step) == 75
        assert ended(store, run_id)["reason"] == "paused at step 5, as its sweep asked"
    assert recorded(store, run_id) == before
    assert run_status(store, run_id).step == 5


@pytest.mark.thorough
def test_a_preemption_in_the_step_of_the_pause_is_a_preemption(forked: Attempts, data: Path) -> None:
    """Its machine goes away, so it does not wait. Whoever comes next finds the checkpoint, and pauses at once."""
    store, run_id = open_store(forked.store_url), "preempted"
    submit(store, run_id, recipe(data, adapter=True))
    assert forked.run(run_id, Moment(STEP, 10, signal=signal.SIGTERM), until_step=5) == 75
    assert ended(store, run_id)["retry"] is True
    assert checkpoints(store, run_id)[0].step == 5
    pause(forked, run_id, 5)


@pytest.mark.thorough
def test_of_a_run_with_stages_the_step_is_one_of_the_last(references: References, forked: Attempts, data: Path) -> None:
    what = STAGED["one-adapter"](data)
    store, run_id = open_store(forked.store_url), "staged"
    submit(store, run_id, what)
    for step in (1, 3):
        pause(forked, run_id, step)
        assert checkpoints(store, run_id)[0].stage == what.stages[-1].stage_name
    forked.run_to_the_end(run_id)
    assert_same(staged_outcome(store, run_id), references(what, read=staged_outcome).outcome)


@pytest.mark.thorough
def test_several_training_processes_pause_together(pair: Attempts, references: References, data: Path) -> None:
    what = recipe(data, adapter=True, strategy="ddp")
    store, run_id = open_store(pair.store_url), "pauses-together"
    submit(store, run_id, what)
    for step in (2, 4):
        pause(pair, run_id, step)
    pair.run_to_the_end(run_id)
    variables = {"RUNNER_PROCESSES": "2", "DS_ACCELERATOR": "cpu"}
    assert_same(outcome(store, run_id), references(what, variables).outcome)


@pytest.mark.thorough
def test_a_schedule_that_ends_at_the_rung_goes_on_as_the_longer_one(forked: Attempts, data: Path) -> None:
    what = recipe(data, adapter=True, lr_scheduler_type="linear", warmup_steps=0)
    straight = {step: 2e-3 * (12 - step + 1) / 12 for step in range(1, 13)}
    store, run_id = open_store(forked.store_url), "schedules"
    submit(store, run_id, what)
    assert forked.run(run_id, until_step=4, schedule_steps=4) == 75, forked.log(run_id)
    assert learning_rates(store, run_id) == pytest.approx({1: 2e-3, 2: 1.5e-3, 3: 1e-3, 4: 5e-4})
    assert forked.run(run_id, schedule_steps=12) == 0, forked.log(run_id)
    rates = learning_rates(store, run_id)
    assert {step: rate for step, rate in rates.items() if step > 4} == pytest.approx(
        {step: rate for step, rate in straight.items() if step > 4}
    )


def learning_rates(store: Store, run_id: str) -> dict[int, float | None]:
    """The learning rate of each step."""
    return {
        record["step"]: record["learning_rate"] for record in read_metrics(store, run_id) if record["kind"] == "train"
    }
