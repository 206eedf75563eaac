"""What reward functions take and return is checked, and the function is named."""

import asyncio
import logging
import math
from typing import Any

import numpy as np
import pytest
import torch

from runner.errors import UserError
from runner.train.methods.reward_checks import UNSCORED_BATCHES, UnscoredBatches, check_parameters, checked

COLUMNS = ("prompt", "answer")


def refusal(returned: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        checked(lambda completions, **kwargs: returned, "mine", "training.reward_funcs.1")(completions=["a", "b"])
    assert caught.value.where == "training.reward_funcs.1"
    assert "`mine`" in caught.value.what
    return caught.value


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (1.0, "returned 1.0"),
        (None, "returned None"),
        ("ab", "returned 'ab'"),
        ({0: 1.0, 1: 1.0}, "returned {0: 1.0"),
        ([1.0], "1 rewards"),
        (["1", 2.0], "'1' as a reward"),
        ([[1.0], [2.0]], r"[1.0] as a reward"),
        ([1.0, math.inf], "inf"),
        (torch.tensor([1.0, -math.inf]), "-inf"),
    ],
)
def test_what_is_no_list_of_finite_numbers_is_refused(returned: Any, words: str) -> None:
    assert words in refusal(returned).what


@pytest.mark.parametrize(
    "returned",
    [[1, 0.5], [None, True], (1.0, 2.0), np.array([1.0, 2.0]), torch.tensor([0.5, 1.0]), [torch.tensor(1.0), 2]],
)
def test_numbers_of_any_kind_are_rewards(returned: Any) -> None:
    rewards = checked(lambda completions, **kwargs: returned, "mine", "w")(completions=["a", "b"])
    assert all(value is None or isinstance(value, int | float) for value in rewards)
    assert len(rewards) == 2


def test_a_coroutine_function_is_checked_when_it_is_awaited() -> None:
    async def later(completions: list[str], **kwargs: Any) -> float:
        return 1.0

    wrapped = checked(later, "later", "w")
    assert asyncio.iscoroutinefunction(wrapped)
    with pytest.raises(UserError, match="`later` returned"):
        asyncio.run(wrapped(completions=["a"]))


def test_a_reward_that_is_not_a_number_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    reward = checked(lambda completions, **kwargs: [math.nan, 1.0], "mine", "training.reward_funcs.0")
    for _ in range(3):
        reward(completions=["a", "b"])
    [record] = caplog.records
    assert (record.levelno, "`mine` returned NaN" in record.message) == (logging.WARNING, True)


def test_the_wrapper_keeps_the_name_under_which_rewards_are_logged() -> None:
    def length(completions: list[str], **kwargs: Any) -> list[float]:
        return [1.0]

    class Judge:
        def __call__(self, completions: list[str], **kwargs: Any) -> list[float]:
            return [1.0]

    assert checked(length, "length", "w").__name__ == "length"
    assert checked(Judge(), "judge", "w").__name__ == "judge"


def needs_solution(completions: Any, solution: Any, **kwargs: Any) -> list[float]:
    return []


def takes_too_little(prompts: Any, completions: Any) -> list[float]:
    return []


def fits(completions: Any, answer: Any, temperature: float = 1.0, **kwargs: Any) -> list[float]:
    return []


def test_a_column_that_the_data_lack_is_named_with_those_that_they_have() -> None:
    with pytest.raises(UserError, match="needs `solution`") as caught:
        check_parameters(needs_solution, "needs_solution", "training.reward_funcs.0", COLUMNS)
    assert "prompt, answer" in str(caught.value.remedy)


def test_a_function_must_take_all_that_it_is_given() -> None:
    with pytest.raises(UserError, match="does not take `answer`"):
        check_parameters(takes_too_little, "takes_too_little", "w", COLUMNS)
    check_parameters(fits, "fits", "w", COLUMNS)
    check_parameters(max, "max", "w", COLUMNS)  # has no signature


NONE_APPLIES = torch.full((4, 2), math.nan)
ONE_APPLIES = torch.tensor([[math.nan, math.nan], [1.0, math.nan]])


def test_a_run_whose_first_batch_has_no_reward_at_all_ends() -> None:
    with pytest.raises(UserError, match="`a`, `b` returned None for all 4 completions"):
        UnscoredBatches(["a", "b"]).observe(NONE_APPLIES)


def test_later_a_few_batches_without_rewards_are_only_said(caplog: pytest.LogCaptureFixture) -> None:
    batches = UnscoredBatches(["a", "b"])
    batches.observe(ONE_APPLIES)
    for _ in range(UNSCORED_BATCHES - 1):
        batches.observe(NONE_APPLIES)
    assert len(caplog.records) == 1
    batches.observe(ONE_APPLIES)
    for _ in range(UNSCORED_BATCHES - 1):
        batches.observe(NONE_APPLIES)
    with pytest.raises(UserError, match="returned None"):
        batches.observe(NONE_APPLIES)


def failing(error: BaseException) -> Any:
    def reward(completions: Any, **kwargs: Any) -> list[float]:
        raise error

    async def later(completions: Any, **kwargs: Any) -> list[float]:
        raise error

    def yielding(completions: Any, **kwargs: Any) -> Any:
        yield 1.0
        raise error

    calls = [checked(function, "mine", "training.reward_funcs.1") for function in (reward, later, yielding)]
    return [calls[0], lambda completions: asyncio.run(calls[1](completions=completions)), calls[2]]


@pytest.mark.parametrize("error", [KeyError("answer"), ConnectionError("away"), torch.OutOfMemoryError("full")])
def test_what_a_reward_function_raises_is_raised_on_with_its_name(error: Exception) -> None:
    for call in failing(error):
        error.__notes__ = []
        with pytest.raises(type(error)) as caught:
            call(completions=["a", "b"])
        assert caught.value is error
        assert error.__notes__[0].startswith("raised by the reward function `mine` (test_reward_checks.py, line ")
        assert error.__notes__[0].endswith("; training.reward_funcs.1)")


def test_a_reward_function_that_ends_the_process_is_named() -> None:
    for call in failing(SystemExit(3)):
        with pytest.raises(UserError, match=r"`mine` ended the process .*SystemExit") as caught:
            call(completions=["a", "b"])
        assert caught.value.where == "training.reward_funcs.1"
