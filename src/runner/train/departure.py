"""Errors that say no more than that this machine, or our place on it, is being taken away.

Slurm ends an allocation with SIGTERM, and SkyPilot removes the cluster's folder while what ran there is still saving;
an attempt that did not even hear of it trains on until something that it needs is gone. The run has not failed: the
next attempt goes on.
"""

import sys
from pathlib import Path


def is_departure(error: BaseException | None, work_dir: Path) -> bool:
    """Whether `error` comes of what somebody has removed under us.

    Args:
        error: what was raised.
        work_dir: the run's folder on this machine.
    """
    if not all(path.exists() for path in (work_dir, Path(__file__), Path(sys.executable))):
        return True
    while error is not None:
        # Nothing here looks for a file of its own that might not be there.
        if isinstance(error, FileNotFoundError) and Path(str(error.filename)).is_relative_to(work_dir):
            return True
        error = error.__cause__
    return False
