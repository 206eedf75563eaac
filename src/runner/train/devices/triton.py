"""Triton on a machine where nothing can compile: it is left aside, so that torch's kernels are used.

Triton compiles a little C at its first kernel, and fails without a C compiler and Python's headers
(`triton.runtime.build`). TRL takes its loss for one of Triton's kernels wherever Triton is installed on a GPU; it comes
with torch, also onto machines that have no compiler. Without Triton TRL computes the same loss with torch.
"""

import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from pathlib import Path

logger = logging.getLogger(__name__)


def has_compiler() -> bool:
    """Whether there are a C compiler (``CC``, gcc or clang, as Triton looks for them) and Python's headers."""
    compilers = (os.environ["CC"],) if os.environ.get("CC") else ("gcc", "clang")
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    return headers.is_file() and any(shutil.which(name) for name in compilers)


def leave_triton_aside() -> bool:
    """Let no library see Triton where it could not compile; to be called before torch, transformers or TRL is imported.

    Returns:
        whether Triton is installed and was hidden. It is said in a line.
    """
    installed = importlib.util.find_spec("triton") is not None
    if installed and has_compiler():
        return False
    # torch's CUDA build would warn that it cannot count the operations of Triton's kernels: nobody counts them here.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
    if not installed:
        return False
    # What `import` and `find_spec` take for a module that is not there.
    sys.modules["triton"] = None  # type: ignore[assignment] # documented: None stops an import
    logger.info("kernels: no C compiler or no Python headers here, so Triton's kernels are not used")
    return True
