"""When another attempt makes sense: not after many without progress, and in smaller pieces after a shortage."""

from typing import Any

from runner.runs.attempts import Attempt
from runner.runs.layout import CheckpointName
from runner.train.agent.outcome import Outcome
from runner.train.agent.restart_policy import attempts_without_progress, last_oom_split, retry_smaller


def attempt(number: int, restored: str | None, ended: dict[str, Any] | None = None) -> Attempt:
    name = CheckpointName.parse(restored) if restored else None
    return Attempt(number, f"{number:04d}-aaaa", {}, True, name, ended)


def test_attempts_that_got_nowhere_are_counted() -> None:
    """Those since the last newer checkpoint, and since somebody was told."""
    first, second = "train-10-0001-aaaa", "train-20-0003-aaaa"
    earlier = [attempt(1, None), attempt(2, first), attempt(3, first, {"retry": True}), attempt(4, first)]
    assert attempts_without_progress(earlier, CheckpointName.parse(first)) == 3
    assert attempts_without_progress(earlier, CheckpointName.parse(second)) == 0
    assert attempts_without_progress([*earlier, attempt(5, first, {"retry": False})], CheckpointName.parse(first)) == 0
    assert attempts_without_progress([], None) == 0


def test_half_the_micro_batch_is_next_until_there_is_none() -> None:
    splits, split = [], [8, 1]
    while True:
        splits.append(split)
        outcome = retry_smaller(Outcome(kind="out_of_memory", reason="memory ran out", retry=True, split=split))
        if outcome.split is None:
            break
        split = outcome.split
    assert splits == [[8, 1], [4, 2], [2, 4], [1, 8]]
    assert (outcome.kind, outcome.retry) == ("failed", False)
    assert "max_length" in str(outcome.reason)


def test_the_last_split_counts_for_all_attempts_to_come() -> None:
    ends = [{"split": [4, 2]}, None, {"split": [2, 4]}, {"outcome": "interrupted"}]
    known = [Attempt(number, "x", {}, True, None, end) for number, end in enumerate(ends, start=1)]
    assert last_oom_split(known) == [2, 4]
    assert last_oom_split(known[3:]) is None
