"""How several processes' ends are told apart: the first cause counts, and only a real failure is final."""

import signal
from typing import Any

import pytest

from runner.train.agent.outcome import attempt_outcome

LOST = {"outcome": "failed", "reason": "Connection closed by peer", "retry": True, "lost_peer": True}
BROKEN = {"outcome": "failed", "reason": "ValueError: nonsense", "retry": False}
MISTAKE = {"outcome": "failed", "reason": "data: no such file", "retry": False}
TOLD = {"outcome": "interrupted", "reason": "told to stop (SIGTERM)", "retry": True}
MEMORY = {"outcome": "out_of_memory", "reason": "memory ran out in step 3", "retry": True, "split": [4, 1]}
DONE = {"outcome": "succeeded", "reason": None, "retry": False, "result": {"step": 12}}


def end(rank: int, code: int, outcome: dict[str, Any] | None = None, *, killed: bool = False) -> dict[str, Any]:
    return {"rank": rank, "code": code, "outcome": outcome, "killed": killed, "said_at": float(rank)}


@pytest.mark.parametrize(
    ("ends", "outcome", "words"),
    [
        ([end(0, 0, DONE), end(1, 0, DONE)], "succeeded", None),
        # The first has done everything there is to do with others.
        ([end(0, 0, DONE), end(1, -signal.SIGKILL)], "succeeded", None),
        ([end(0, 1, LOST), end(1, -signal.SIGKILL)], "interrupted", "training process 1 of 2 was killed by SIGKILL"),
        ([end(0, -signal.SIGKILL, killed=True), end(1, -signal.SIGKILL)], "interrupted", "process 1 of 2 was killed"),
        ([end(0, 1, LOST), end(1, 1, BROKEN)], "failed", "nonsense"),
        ([end(0, -signal.SIGABRT), end(1, 1, BROKEN)], "failed", "nonsense"),
        ([end(0, -signal.SIGABRT), end(1, 1, LOST)], "interrupted", "went away"),
        ([end(0, 1, LOST), end(1, 1, MEMORY)], "out_of_memory", "step 3"),
        ([end(0, -signal.SIGKILL, killed=True), end(1, 2, MISTAKE)], "failed", "no such file"),
        ([end(0, 75, TOLD), end(1, 75, TOLD)], "interrupted", "told to stop"),
        ([end(0, 1, LOST), end(1, 75, TOLD)], "interrupted", "told to stop"),
        ([end(0, 1, LOST), end(1, 1, LOST)], "interrupted", "went away"),
        ([end(0, 3), end(1, -signal.SIGKILL, killed=True)], "failed", "process 0 of 2 ended with exit code 3"),
        ([end(0, -signal.SIGKILL)], "interrupted", "the training process was killed by SIGKILL"),
        ([end(0, 0)], "failed", "exit code 0"),
    ],
)
def test_the_first_cause_counts(ends: list[dict[str, Any]], outcome: str, words: str | None) -> None:
    found = attempt_outcome(ends)
    assert found["outcome"] == outcome
    assert words is None or words in found["reason"]


def test_a_machine_that_vanished_is_the_cause_of_what_the_others_say() -> None:
    found = attempt_outcome([end(0, 1, BROKEN)], missing_nodes=[1])
    assert (found["outcome"], found["retry"]) == ("interrupted", True)
    assert "machine 1" in found["reason"]


def test_main_memory_is_named_where_the_kernel_took_a_process() -> None:
    assert "main memory" in attempt_outcome([end(0, -signal.SIGKILL)], out_of_main_memory=True)["reason"]
