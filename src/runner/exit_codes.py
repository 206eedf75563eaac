"""Exit codes of commands and attempts, by the run's state."""

SUCCEEDED = 0
"""The run succeeded."""
FAILED = 1
"""The run failed, or was cancelled."""
MISTAKE = 2
"""The user made a mistake."""
INTERRUPTED = 75
"""The run was interrupted, or has not ended; it can be resumed."""
CTRL_C = 130
"""The user pressed Ctrl-C; the run can be resumed."""
