"""What a worker reads from a trial's run."""

from typing import Any

import pytest

from runner.train.sweeping.report import best_until, value_at


def record(step: int, value: Any, stage: str = "sft") -> Any:
    """An evaluation."""
    return {"kind": "eval", "stage": stage, "step": step, "eval_loss": value}


RECORDS = [record(0, 0.1, "pretrain"), *(record(10 * at, value) for at, value in enumerate([5, 3, None, 4, 1], 1))]


@pytest.mark.parametrize(("goal", "best"), [("minimize", 3.0), ("maximize", 5.0)])
def test_the_best_so_far_is_of_this_stage_and_not_of_what_comes_after_the_rung(goal: Any, best: float) -> None:
    assert value_at(RECORDS, "eval_loss", 40) == (4.0, None)
    assert best_until(RECORDS, "eval_loss", 40, goal) == best


def test_what_never_was_a_number_has_no_best() -> None:
    assert best_until([record(10, None), record(20, float("nan"))], "eval_loss", 20, "minimize") is None
