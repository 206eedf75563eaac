"""A training that ends early says so."""

import logging
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from runner.train.checkpointing.save_schedule import EarlyStopping


def evaluate(stopping: EarlyStopping, folder: Path, *, step: int, loss: float, best: float) -> TrainerControl:
    args = TrainingArguments(output_dir=str(folder), metric_for_best_model="loss", use_cpu=True)
    args.greater_is_better = False
    state, control = TrainerState(global_step=step, max_steps=30, best_metric=best), TrainerControl()
    stopping.on_evaluate(args, state, control, {"eval_loss": loss})
    return control


def test_early_stopping_says_why_a_run_ends_before_its_last_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stopping = EarlyStopping(early_stopping_patience=2)
    assert not evaluate(stopping, tmp_path, step=4, loss=3.0, best=2.0).should_training_stop
    assert caplog.messages == []
    assert evaluate(stopping, tmp_path, step=5, loss=3.0, best=2.0).should_training_stop
    assert caplog.messages == [
        "stopped early at step 5 of 30: eval_loss has not improved in 2 evaluations (training.early_stopping_patience)"
    ]


def test_a_run_that_ends_anyhow_was_not_stopped_early(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert evaluate(EarlyStopping(1), tmp_path, step=30, loss=3.0, best=2.0).should_training_stop
    assert not any("stopped early" in message for message in caplog.messages)
