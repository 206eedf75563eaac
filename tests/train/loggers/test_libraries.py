"""What libraries say in every log is left out, and nothing else of theirs."""

import subprocess
import sys

_IMPORT = """
from runner.train.loggers.libraries import quiet_libraries
quiet_libraries()
quiet_libraries()
import logging
import bitsandbytes.backends.cpu.ops
logging.getLogger("bitsandbytes.backends.cpu.ops").warning("this is heard")
"""


def test_bitsandbytes_does_not_ask_for_kernels_that_no_run_needs() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, timeout=120, check=True)
    assert "kernels" not in done.stdout + done.stderr
    assert "this is heard" in done.stderr
