"""When a training counts as diverged."""

import math

import pytest

from runner.train.checkpointing.divergence import (
    NOT_FINITE_STEPS,
    SKIPPED_STEPS,
    DivergenceWatch,
    TrainingDiverged,
)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (math.nan, None)])
def test_a_few_steps_in_a_row_that_are_not_finite_end_it(loss: float, norm: float | None) -> None:
    watch = DivergenceWatch()
    for step in range(1, 50):
        bad = step % NOT_FINITE_STEPS != 0  # never so many in a row
        watch.observe(step, loss if bad else 2.0, norm if bad else 1.0, skipped=False)
    watch.observe(50, 2.0, 1.0, skipped=False)
    last = 50 + NOT_FINITE_STEPS
    for step in range(51, last):
        watch.observe(step, loss, norm, skipped=False)
    with pytest.raises(TrainingDiverged, match=f"at step {last}, and not finite since step 51") as caught:
        watch.observe(last, loss, norm, skipped=False)
    assert caught.value.last_good == 49, "the loss of step 51 is that of the weights after step 50"


def test_float16_may_skip_steps_until_it_has_found_its_scale() -> None:
    watch = DivergenceWatch()
    for step in range(1, SKIPPED_STEPS):
        watch.observe(step, 2.0, math.inf, skipped=True)
    watch.observe(SKIPPED_STEPS, 2.0, 1.0, skipped=False)
    for step in range(25, 24 + SKIPPED_STEPS):
        watch.observe(step, 2.0, math.nan, skipped=True)
    with pytest.raises(TrainingDiverged, match="each step is skipped, since step 25"):
        watch.observe(24 + SKIPPED_STEPS, 2.0, math.nan, skipped=True)


def test_the_last_good_checkpoint_and_a_remedy_are_named() -> None:
    assert "the last good checkpoint is that of step 40" in str(
        TrainingDiverged("loss nan", last_good=42, good_step=40)
    )
    assert "there is no checkpoint from before" in str(TrainingDiverged("loss nan", last_good=0))
    assert "learning_rate" in str(TrainingDiverged("loss nan", last_good=0))
