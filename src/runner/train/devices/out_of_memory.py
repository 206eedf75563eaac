"""Recognize a training step that ran out of memory, so that a new attempt can retry it in smaller pieces.

Memory runs out in a micro-batch. Half the micro-batch and twice the accumulation are the same samples in the same
order, so the effective batch stays the recipe's. The record of the attempt's end holds the new split, for all later
attempts.
"""

from runner.errors import causes

_MESSAGES = (
    "out of memory",  # CUDA's, and torch's for it
    "can't allocate memory",  # torch's on a CPU
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "HIP out of memory",
    "std::bad_alloc",
)


class OutOfMemory(Exception):
    """A training step needed more memory than there is.

    Args:
        reason: the allocator's words.
        split: micro-batch and accumulation of the step.
    """

    def __init__(self, reason: str, split: tuple[int, int]) -> None:
        self.reason = reason
        self.split = split
        super().__init__(reason)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is, or was caused by, a lack of memory: a GPU's or, for torch's tensors, main memory.

    `torch.cuda.OutOfMemoryError` is one; other allocators, cuBLAS and DeepSpeed say it in the text of a RuntimeError.
    """
    for cause in causes(error, contexts=True):
        if type(cause).__name__ == "OutOfMemoryError" or isinstance(cause, MemoryError):
            return True
        if isinstance(cause, RuntimeError) and any(words in str(cause) for words in _MESSAGES):
            return True
    return False


def short_reason(error: BaseException) -> str:
    """Return the first sentence of an allocator's message, which goes on about fragmentation for a page."""
    text = str(next((cause for cause in causes(error, contexts=True) if is_out_of_memory(cause)), error)).strip()
    return text.splitlines()[0].split(". ")[0].rstrip(".") if text else type(error).__name__
