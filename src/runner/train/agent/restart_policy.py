"""When to stop trying: a backend that always starts another attempt has to be told that one more is no use."""

from collections.abc import Sequence

from runner.recipe.batch import halve_micro_batch
from runner.runs.attempts import Attempt
from runner.runs.layout import CheckpointName
from runner.train.agent.outcome import Outcome

MOST_HANGS = 3
"""Attempts in a row that hang without a newer checkpoint after which the run has failed."""


def attempts_without_progress(earlier: Sequence[Attempt], restored: CheckpointName | None) -> int:
    """Return how many attempts in a row, right before this one, got no further than where this one begins.

    Args:
        earlier: the run's attempts before this one, the oldest first.
        restored: the checkpoint that this one continues from; None: it begins afresh.
    """
    count = 0
    for attempt in reversed(earlier):
        if attempt.ended is not None and not attempt.ended.get("retry"):
            break  # somebody has looked at it since, and started the run again
        if attempt.ended is not None and attempt.ended.get("again") and not attempt.ended.get("hung"):
            continue  # it ran out of memory, and the same agent went on with smaller micro-batches
        if attempt.began and attempt.restored != restored:
            break
        count += 1
    return count


def hangs_in_a_row(earlier: Sequence[Attempt], restored: CheckpointName | None) -> int:
    """Return how many attempts in a row, right before this one, hung and got no further than where this one begins.

    Args:
        earlier: the run's attempts before this one, the oldest first.
        restored: the checkpoint that this one continues from; None: it begins afresh.
    """
    count = 0
    for attempt in reversed(earlier):
        ended = attempt.ended
        if ended is None or not ended.get("hung") or not ended.get("retry") or attempt.restored != restored:
            break
        count += 1
    return count


def last_oom_split(attempts: Sequence[Attempt]) -> list[int] | None:
    """Return the micro-batch and accumulation that the run's last shortage of memory led to; None if it had none."""
    splits = [attempt.ended["split"] for attempt in attempts if attempt.ended is not None and "split" in attempt.ended]
    return list(splits[-1]) if splits else None


def retry_smaller(outcome: Outcome) -> Outcome:
    """Return what follows from a shortage of memory: another attempt with smaller micro-batches, or failure.

    Args:
        outcome: a training process's ``out_of_memory``, with its `split`.

    Returns:
        ``interrupted`` with the split for the next attempt, or ``failed`` without one.
    """
    assert outcome.split is not None, "a training process that runs out of memory names its split"
    micro_batch, accumulation = outcome.split
    split = halve_micro_batch(micro_batch, accumulation)
    if split is None:
        reason = (
            f"{outcome.reason}, with micro-batches of one sample: lower `max_length`, train an adapter, load the model "
            "with `load_in_4bit: true`, write `strategy: zero3` for several GPUs, or take a GPU with more memory"
        )
        return Outcome(kind="failed", reason=reason, retry=False, cause="out_of_memory")
    reason = (
        f"{outcome.reason}; going on with micro-batches of {split[0]} instead of {micro_batch} and "
        f"{split[1]} instead of {accumulation} of them in a step: the effective batch stays as it is"
    )
    return Outcome(kind="interrupted", reason=reason, retry=True, split=list(split))
