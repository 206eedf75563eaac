"""When to stop trying: an engine that starts attempts again and again for ever has to be told."""

from collections.abc import Sequence
from typing import Any

from runner.recipe.batch import halve_micro_batch
from runner.runs.attempts import Attempt
from runner.runs.layout import CheckpointName


def attempts_without_progress(earlier: list[Attempt], restored: CheckpointName | None) -> int:
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


def last_oom_split(attempts: Sequence[Attempt]) -> list[int] | None:
    """Micro-batch and accumulation that a run was left with when it last ran out of memory; None: it never did."""
    splits = [attempt.ended["split"] for attempt in attempts if attempt.ended is not None and "split" in attempt.ended]
    return list(splits[-1]) if splits else None


def retry_smaller(end: dict[str, Any]) -> dict[str, Any]:
    """What an end for want of memory comes to: another attempt in smaller pieces (``split``), or failure.

    Args:
        end: a training process's outcome ``out_of_memory``, with its ``reason`` and its ``split``.
    """
    micro_batch, accumulation = end["split"]
    split = halve_micro_batch(micro_batch, accumulation)
    if split is None:
        reason = (
            f"{end['reason']}, with micro-batches of one sample: lower `max_length`, train an adapter, load the model "
            "with `load_in_4bit: true`, write `strategy: zero3` for several GPUs, or take a GPU with more memory"
        )
        return {"outcome": "failed", "reason": reason, "retry": False}
    reason = (
        f"{end['reason']}; going on with micro-batches of {split[0]} instead of {micro_batch} and "
        f"{split[1]} instead of {accumulation} of them in a step: the effective batch stays as it is"
    )
    return {"outcome": "interrupted", "reason": reason, "retry": True, "split": list(split)}
