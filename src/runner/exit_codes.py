"""What a run's state is as an exit code; the same codes that attempts use."""

SUCCEEDED = 0
"""The run succeeded."""
FAILED = 1
"""It failed, or was cancelled."""
MISTAKE = 2
"""The caller made a mistake."""
INTERRUPTED = 75
"""It was interrupted, or has not ended; it can be resumed."""
CTRL_C = 130
"""Somebody pressed Ctrl-C; it can be resumed."""
