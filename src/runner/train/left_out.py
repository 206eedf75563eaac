"""What the image leaves out of torch's libraries (``images/stand-ins.sh``), as torch says that it was wanted."""

_SAID = (
    "CUFFT_NOT_SUPPORTED",  # c10::Error of torch.fft: what cuFFT's stand-in answers
    "cusparseLtInit",  # and cuSPARSELt's, at its first call
    "CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE",  # and cuDNN's, of torch.nn.LSTM
    "working triton installation",  # torch._inductor.exc.TritonMissing
)
_REMEDY = "the image leaves this out, and `runner image build --target devel` makes one that has it (docs/image.md)"


def with_remedy(reason: str) -> str:
    """The reason of a failure, and where it is for want of what the image leaves out, the image that has it."""
    return f"{reason}\n  {_REMEDY}" if any(words in reason for words in _SAID) else reason
