"""A metric that an evaluation does not have is missed at the first one, and not before."""

from typing import Any

from runner.train.sweeping.watch import look_for_metric


def record(kind: str, step: int, phase: str | None = None, **values: Any) -> Any:
    return {"kind": kind, "stage": "sft", "step": step, **({} if phase is None else {"phase": phase}), **values}


def test_before_the_first_evaluation_nothing_is_known() -> None:
    assert look_for_metric([], "eval_loss") == (False, None)
    records = [record("eval", 0, "before", eval_loss=2.0), record("train", 1, loss=1.0)]
    assert look_for_metric(records, "eval_accuracy") == (False, None)


def test_a_metric_that_was_recorded_is_there_whatever_its_value() -> None:
    assert look_for_metric([record("train", 1, loss=1.0)], "loss") == (True, None)
    assert look_for_metric([record("eval", 2, eval_loss=None)], "eval_loss") == (True, None)


def test_an_evaluation_without_it_names_what_there_is() -> None:
    seen, missing = look_for_metric([record("train", 1, loss=1.0), record("eval", 2, eval_loss=1.5)], "eval_los")
    assert not seen
    assert missing == "the trial has no 'eval_los': did you mean 'eval_loss'? there are eval_loss, loss"


def test_what_is_measured_before_and_after_training_is_not_missed_in_between() -> None:
    records = [record("eval", 0, "before", exact_match=0.1), record("eval", 2, eval_loss=1.5)]
    assert look_for_metric(records, "exact_match") == (True, None)
