"""When to stop trying: an engine that starts attempts again and again for ever has to be told."""

from runner.runs.attempts import Attempt
from runner.runs.layout import CheckpointName


def fruitless_attempts(earlier: list[Attempt], restored: CheckpointName | None) -> int:
    """How many attempts in a row, right before this one, got no further than where this one begins.

    Args:
        earlier: the run's attempts before this one, the oldest first.
        restored: the checkpoint that this one continues from; None: it begins afresh.
    """
    count = 0
    for attempt in reversed(earlier):
        if attempt.ended is not None and not attempt.ended.get("retry"):
            break  # somebody has looked at it since, and started the run again
        if attempt.ended is not None and attempt.ended.get("again"):
            continue  # it ran out of memory, and went on in smaller pieces by itself
        if attempt.began and attempt.restored != restored:
            break
        count += 1
    return count
