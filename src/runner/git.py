"""The git revision of a folder."""

import os
import subprocess
from pathlib import Path


def revision_of(folder: Path) -> str | None:
    """Return the git commit of `folder`, with ``-dirty`` if it has uncommitted changes; None outside of git."""
    # A folder's own settings could name a program for git to run.
    command = ["git", "-c", "core.fsmonitor=false", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() or None if completed.returncode == 0 else None
