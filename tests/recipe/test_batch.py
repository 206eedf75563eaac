"""The effective batch is what the recipe says, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UserError
from runner.recipe.batch import DEFAULT_MICRO_BATCH, halve_micro_batch, split_batch


def test_without_a_word_on_it_the_batch_is_transformers_own() -> None:
    """8 samples on a device, and a step after each."""
    assert split_batch({}) == (8, 1)
    assert split_batch({"per_device_train_batch_size": 3}) == (3, 1)
    assert split_batch({"gradient_accumulation_steps": 5}) == (8, 5)


def test_who_sets_both_gets_both() -> None:
    """Nothing is fitted that somebody has written."""
    both = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 7}
    assert split_batch(both, devices=4) == (3, 7)
    assert split_batch({**both, "effective_batch_size": 21}) == (3, 7)
    assert split_batch({**both, "effective_batch_size": 42}, devices=2) == (3, 7)


def test_one_of_the_two_determines_the_other() -> None:
    """A micro-batch that fits the GPU is often known; the accumulation follows."""
    assert split_batch({"effective_batch_size": 32, "per_device_train_batch_size": 4}) == (4, 8)
    assert split_batch({"effective_batch_size": 32, "per_device_train_batch_size": 4}, devices=2) == (4, 4)
    assert split_batch({"effective_batch_size": 32, "gradient_accumulation_steps": 2}) == (16, 2)


@given(st.integers(1, 4096), st.integers(1, 64))
def test_an_effective_batch_is_never_changed(effective: int, devices: int) -> None:
    """Micro-batch x accumulation x devices is the effective batch, or it is refused."""
    try:
        micro, accumulation = split_batch({"effective_batch_size": effective}, devices)
    except UserError:
        assert effective % devices
        return
    assert micro * accumulation * devices == effective
    assert 1 <= micro <= DEFAULT_MICRO_BATCH
    assert not any(effective // devices % size == 0 for size in range(micro + 1, DEFAULT_MICRO_BATCH + 1))


@pytest.mark.parametrize(
    ("training", "devices", "words"),
    [
        (
            {"effective_batch_size": 10, "per_device_train_batch_size": 4},
            1,
            "not divisible by per_device_train_batch_size = 4",
        ),
        (
            {"effective_batch_size": 10, "gradient_accumulation_steps": 4},
            1,
            "not divisible by gradient_accumulation_steps = 4",
        ),
        ({"effective_batch_size": 10}, 4, "not divisible by devices = 4"),
        ({"effective_batch_size": 8, "per_device_train_batch_size": 3}, 2, "4 each, which"),
        (
            {"effective_batch_size": 8, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
            1,
            "8 is not per_device_train_batch_size x gradient_accumulation_steps x devices = 2 x 2 x 1 = 4",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(training: dict[str, int], devices: int, words: str) -> None:
    """The message does the multiplication."""
    with pytest.raises(UserError, match="effective_batch_size") as caught:
        split_batch(training, devices)
    assert words in caught.value.what
    assert caught.value.remedy


@given(st.integers(1, 64), st.integers(1, 64))
def test_halving_keeps_the_samples_of_a_step(micro_batch: int, accumulation: int) -> None:
    found = halve_micro_batch(micro_batch, accumulation)
    if micro_batch == 1:
        assert found is None
    else:
        assert found is not None
        assert 2 * found[0] <= micro_batch
        assert found[0] * found[1] == micro_batch * accumulation
