"""Where a training wants what the image leaves out, its failure names the image that has it."""

import pytest
from torch._inductor.exc import TritonMissing

from runner.train.worker import with_remedy


@pytest.mark.parametrize(
    "reason",
    [
        "RuntimeError: cuFFT error: CUFFT_NOT_SUPPORTED",
        "RuntimeError: CUDA error: operation not supported when calling `cusparseLtInit(&handle)`",
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE",
        f"torch._inductor.exc.TritonMissing: {TritonMissing(None)}",
    ],
)
def test_the_image_that_has_it_is_named(reason: str) -> None:
    assert with_remedy(reason).startswith(f"{reason}\n")
    assert "--target devel" in with_remedy(reason)


def test_other_failures_are_left_as_they_are() -> None:
    assert with_remedy("RuntimeError: CUFFT_INTERNAL_ERROR") == "RuntimeError: CUFFT_INTERNAL_ERROR"
