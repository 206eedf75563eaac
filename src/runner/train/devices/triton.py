"""Hide Triton on a machine without a compiler, so that torch's kernels are used.

Triton compiles a little C at its first kernel, and fails without a C compiler and Python's headers
(`triton.runtime.build`). TRL computes its loss with a Triton kernel on a GPU whenever Triton is installed, and torch
installs it even on machines without a compiler. Without Triton TRL computes the same loss with torch.
"""

import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from pathlib import Path

logger = logging.getLogger(__name__)

TILE_TOKENS = 512
"""Tokens of a tile of TRL's loss without Triton. TRL's 4,096 are for a kernel that works in place: torch's operators
need 31 bytes for each of a tile's entries, which are 3.9 GiB for 32,768 of the vocabulary. `runner.fit` counts this."""


def has_compiler() -> bool:
    """Whether there are a C compiler (``CC``, gcc or clang, as Triton looks for them) and Python's headers."""
    compilers = (os.environ["CC"],) if os.environ.get("CC") else ("gcc", "clang")
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    return headers.is_file() and any(shutil.which(name) for name in compilers)


def leave_triton_aside() -> bool:
    """Hide Triton from all libraries if it could not compile. Call it before torch, transformers or TRL is imported.

    Returns:
        whether Triton is installed and was hidden; a line in the log says so.
    """
    installed = importlib.util.find_spec("triton") is not None
    if installed and has_compiler():
        return False
    # torch's CUDA build would warn that it cannot count the operations of Triton's kernels; they are not counted here.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
    if not installed:
        return False
    # `import` and `find_spec` take this for a missing module.
    sys.modules["triton"] = None  # type: ignore[assignment] # documented: None stops an import
    logger.info("kernels: no C compiler or no Python headers here, so Triton's kernels are not used")
    return True


def use_small_tiles() -> None:
    """Let TRL compute its loss in smaller tiles if it has no Triton. Call it once TRL may be imported."""
    from trl.kernels import chunked_logprob

    if not chunked_logprob._TRITON_AVAILABLE:
        chunked_logprob.TOKEN_CHUNK_SIZE = min(TILE_TOKENS, chunked_logprob.TOKEN_CHUNK_SIZE)
