"""A training that has stopped to learn is noticed once, with the step at which it stopped."""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from runner.train.loggers.stall_watch import STEPS, StallWatch

_COUNT = itertools.count()


def learns(**values: Any) -> dict[str, Any]:
    return {"loss": 2 + 1e-7 * next(_COUNT), "grad_norm": 0.3, "learning_rate": 1e-4, **values}


def warnings(records: Iterable[Mapping[str, Any]], max_steps: int = 1000) -> dict[int, str]:
    """The warnings by their steps; the watch goes through a checkpoint after each step."""
    said, state = {}, StallWatch().state()
    for step, record in enumerate(records, 1):
        watch = StallWatch()
        watch.restore(json.loads(json.dumps(state)))
        if sentence := watch.observe(step, record, max_steps=max_steps):
            said[step] = sentence
        state = watch.state()
    return said


def test_gradients_of_exactly_zero_are_said_once_with_their_first_step() -> None:
    said = warnings([learns()] * 4 + [learns(grad_norm=0.0) for _ in range(40)])
    assert list(said) == [4 + STEPS]
    assert "gradients have been exactly 0 since step 5" in said[4 + STEPS]


def test_small_gradients_and_a_few_of_zero_are_nothing_to_say() -> None:
    some = [learns(grad_norm=0.0) for _ in range(STEPS - 1)]
    assert not warnings([*some, learns(grad_norm=1e-12), *some, learns()])


def test_a_loss_that_does_not_move_is_said() -> None:
    said = warnings([learns(), learns()] + [learns(loss=0.6931)] * 30)
    assert list(said) == [2 + STEPS]
    assert "exactly 0.6931 since step 3" in said[2 + STEPS]


def test_the_loss_of_grpo_may_stay_at_zero_but_not_its_rewards() -> None:
    def grpo(share: float) -> dict[str, Any]:
        return learns(loss=0.0, reward=0.5, frac_reward_zero_std=share)

    assert not warnings([grpo(0.9)] * 40)
    said = warnings([grpo(0.5)] * 3 + [{**grpo(1.0), "grad_norm": 0.0}] * 40)
    assert list(said) == [3 + STEPS], "the gradients of zero follow from the rewards, and are not said too"
    assert "all got one reward since step 4" in said[3 + STEPS]


def test_a_run_that_is_shorter_is_told_at_its_end() -> None:
    said = warnings([learns(grad_norm=0.0) for _ in range(3)], max_steps=3)
    assert list(said) == [3]
    assert not warnings([learns(), learns(grad_norm=0.0), learns(grad_norm=0.0)], max_steps=3)


def test_a_learning_rate_of_zero_is_said() -> None:
    said = warnings([learns(learning_rate=0.0) for _ in range(STEPS)])
    assert "the learning rate has been 0 since step 1" in said[STEPS]
