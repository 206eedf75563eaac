"""The GPU of this machine by the driver's name, by which its price is found."""

import shutil
import subprocess
from collections.abc import Mapping


def find_accelerator_name(environ: Mapping[str, str]) -> str | None:
    """Return the driver's name of the GPU that is trained on; None without one."""
    if environ.get("CUDA_VISIBLE_DEVICES") == "" or shutil.which("nvidia-smi") is None:
        return None
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    return names[0].strip() if names else None
