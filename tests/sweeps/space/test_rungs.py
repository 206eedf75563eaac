"""Rungs in steps, from `runner.rungs` and from W&B's iterations, and evaluations that hit them."""

from typing import Any

import pytest

from runner.sweeps.space.file import EarlyTerminate
from runner.sweeps.space.rungs import bands
from support.sweeping.files import SweepFiles


@pytest.mark.parametrize(
    ("early", "below", "iterations"),
    [
        (EarlyTerminate(min_iter=1), 100, [1, 3, 9, 27, 81]),
        (EarlyTerminate(min_iter=3), 81, [3, 9, 27]),
        (EarlyTerminate(min_iter=2, eta=1.5), 10, [2, 3, 4, 6]),  # 2, 3, 4.5, 6.75
        (EarlyTerminate(max_iter=27, s=2), 100, [3, 9]),  # not 27 itself
        (EarlyTerminate(max_iter=10, s=9, eta=2), 100, [1, 2, 5]),
        (EarlyTerminate(max_iter=27, s=2, min_iter=1), 100, [3, 9]),
        (EarlyTerminate(min_iter=2, max_iter=18), 100, [2, 6]),
    ],
)
def test_bands_are_wandbs(early: EarlyTerminate, below: int, iterations: list[int]) -> None:
    assert bands(early, below) == iterations


@pytest.mark.parametrize(
    ("keys", "rungs", "interval"),
    [
        ({}, (60,), 10),
        ({"runner": {"rungs": [20, 40]}}, (20, 40, 60), 10),
        ({"runner": {"rungs": [20, 60]}}, (20, 60), 10),
        ({"runner": {"rungs": [60]}}, (60,), 10),
        ({"runner": {"rungs": 20}}, (20, 60), 10),
        ({"runner": {"rungs": [15, 40]}}, (15, 40, 60), 5),
        ({"runner": {"rungs": [12, 24]}}, (12, 24, 60), 6),
        ({"runner": {"rungs": [30], "set": {"training.max_steps": 120}}}, (30, 120), 10),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1}}, (10, 30, 60), 10),
        ({"early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2}}, (20, 40, 60), 10),
        ({"early_terminate": {"type": "hyperband", "max_iter": 6, "s": 2, "eta": 2}}, (10, 30, 60), 10),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1}, "runner": {"rungs": [40]}}, (40, 60), 10),
    ],
    ids=str,
)
def test_rungs_are_steps_and_each_has_an_evaluation(
    files: SweepFiles, keys: dict[str, Any], rungs: tuple[int, ...], interval: int
) -> None:
    sweep = files.load(**keys)
    assert sweep.rungs == rungs
    assert sweep.recipe.settings["training.eval_steps"].value == interval
    assert all(rung % interval == 0 for rung in rungs)
    said = any(f"training.eval_steps: {interval} is set" in note for note in sweep.notes)
    assert said == (interval != 10)


def test_a_recipe_that_does_not_evaluate_by_steps_does_so_in_a_sweep(files: SweepFiles) -> None:
    files.recipe(training={"eval_strategy": "epoch", "eval_steps": None})
    text = (files.folder / "small.yaml").read_text().replace("  eval_steps: null\n", "")
    (files.folder / "small.yaml").write_text(text)
    sweep = files.load(runner={"rungs": [20]})
    assert sweep.fixed == {"training.eval_strategy": "steps", "training.eval_steps": 20}
    assert files.load().fixed == {}  # an evaluation at the end is enough, and an epoch has that


def test_a_training_loss_is_logged_at_each_rung(files: SweepFiles) -> None:
    sweep = files.load(metric={"name": "train/loss", "goal": "minimize"}, runner={"rungs": [15]})
    assert sweep.fixed == {"training.logging_strategy": "steps", "training.logging_steps": 5}


def test_trials_that_train_for_epochs_have_no_rungs(files: SweepFiles) -> None:
    assert files.drawing({"epochs": {"values": [1, 2]}}).rungs == ()
    message = files.refusal(parameters={"epochs": {"values": [1, 2]}}, runner={"rungs": [10]})
    assert "they have different lengths" in message


def test_trials_of_different_lengths_are_each_evaluated_at_their_end(files: SweepFiles) -> None:
    sweep = files.drawing({"max_steps": {"values": [15, 40]}})
    assert sweep.rungs == ()
    assert sweep.fixed == {"training.eval_strategy": "steps", "training.eval_steps": 5}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"runner": {"rungs": [70]}}, "sweep.yaml:12: runner.rungs: step 70 is beyond the last, training.max_steps 60"),
        (
            {"runner": {"rungs": [10], "set": {"training.max_steps": -1, "training.num_train_epochs": 1}}},
            "the recipe's length is in epochs",
        ),
        ({"early_terminate": {"type": "hyperband", "min_iter": 6}}, "6 evaluations are 60 steps, and trials end at"),
        (
            {
                "early_terminate": {"type": "hyperband", "min_iter": 1},
                "runner": {"set": {"training.eval_strategy": "no"}},
            },
            "eval_steps",
        ),
    ],
    ids=str,
)
def test_rungs_that_cannot_be_are_refused(files: SweepFiles, keys: dict[str, Any], said: str) -> None:
    assert said in files.refusal(**keys)


def test_iterations_need_evaluations_by_steps(files: SweepFiles) -> None:
    files.recipe(training={"eval_strategy": "epoch", "eval_steps": None})
    text = (files.folder / "small.yaml").read_text().replace("  eval_steps: null\n", "")
    (files.folder / "small.yaml").write_text(text)
    message = files.refusal(early_terminate={"type": "hyperband", "min_iter": 1})
    assert "an iteration is one evaluation, and the recipe does not evaluate by steps" in message
    assert "rungs: [30, 60]" in message
