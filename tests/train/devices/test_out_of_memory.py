"""What counts as memory that could not be had, and what comes of it."""

import pytest
import torch

from runner.runs.attempts import Attempt
from runner.train.agent.restart_policy import last_oom_split, retry_smaller
from runner.train.devices.out_of_memory import is_out_of_memory, short_reason


def test_torchs_own_refusal_to_allocate_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_words_of_gpus_are_recognized_wherever_they_come_from() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    wrapped = RuntimeError("the step failed")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert is_out_of_memory(wrapped)
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory is what this text talks about"))


def test_it_is_said_in_one_sentence() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …\nSee documentation")
    assert short_reason(error) == "CUDA out of memory"


def test_half_the_micro_batch_is_next_until_there_is_none() -> None:
    end = {"reason": "memory ran out", "split": [8, 1]}
    splits = []
    while "split" in end:
        splits.append(end["split"])
        end = retry_smaller({"reason": "memory ran out", "split": end["split"]})
    assert splits == [[8, 1], [4, 2], [2, 4], [1, 8]]
    assert (end["outcome"], end["retry"]) == ("failed", False)
    assert "max_length" in str(end["reason"])


def test_the_last_split_counts_for_all_attempts_to_come() -> None:
    ends = [{"split": [4, 2]}, None, {"split": [2, 4]}, {"outcome": "interrupted"}]
    known = [Attempt(number, "x", {}, True, None, end) for number, end in enumerate(ends, start=1)]
    assert last_oom_split(known) == [2, 4]
    assert last_oom_split(known[3:]) is None
