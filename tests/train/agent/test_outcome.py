"""How several processes' ends are told apart: the first cause counts, and only a real failure is final."""

import json
import signal
from typing import Any

import pytest

from runner.train.agent.outcome import NodeExit, Outcome, WorkerExit, attempt_outcome

LOST = Outcome(kind="failed", reason="Connection closed by peer", retry=True, lost_peer=True)
BROKEN = Outcome(kind="failed", reason="ValueError: nonsense", retry=False)
MISTAKE = Outcome(kind="failed", reason="data: no such file", retry=False)
TOLD = Outcome(kind="interrupted", reason="stopped by SIGTERM (Ctrl-C, a preemption or `kill`)", retry=True)
MEMORY = Outcome(kind="out_of_memory", reason="memory ran out in step 3", retry=True, split=[4, 1])
DONE = Outcome(kind="succeeded", reason=None, retry=False, result={"step": 12})


def end(rank: int, code: int, outcome: Outcome | None = None, *, killed: bool = False) -> WorkerExit:
    return WorkerExit(rank=rank, code=code, outcome=outcome, killed=killed, reported_at=float(rank))


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
        ([end(0, 75, TOLD), end(1, 75, TOLD)], "interrupted", "stopped by SIGTERM"),
        ([end(0, 1, LOST), end(1, 75, TOLD)], "interrupted", "stopped by SIGTERM"),
        ([end(0, 1, LOST), end(1, 1, LOST)], "interrupted", "went away"),
        ([end(0, 3), end(1, -signal.SIGKILL, killed=True)], "failed", "process 0 of 2 ended with exit code 3"),
        ([end(0, -signal.SIGKILL)], "interrupted", "the training process was killed by SIGKILL"),
        ([end(0, 0)], "failed", "exit code 0"),
    ],
)
def test_the_first_cause_counts(ends: list[WorkerExit], outcome: str, words: str | None) -> None:
    decided = attempt_outcome(ends)
    assert decided.kind == outcome
    assert words is None or words in str(decided.reason)


def test_a_machine_that_vanished_is_the_cause_of_what_the_others_say() -> None:
    decided = attempt_outcome([end(0, 1, BROKEN)], missing_nodes=[1])
    assert (decided.kind, decided.retry) == ("interrupted", True)
    assert "machine 1" in str(decided.reason)


def test_main_memory_is_named_where_the_kernel_took_a_process() -> None:
    assert "main memory" in str(attempt_outcome([end(0, -signal.SIGKILL)], out_of_main_memory=True).reason)


@pytest.mark.parametrize("outcome", [LOST, BROKEN, TOLD, MEMORY, DONE, None])
def test_what_is_written_is_read_again(outcome: Outcome | None) -> None:
    node = NodeExit(exit_code=1, ends=[end(1, -9, outcome, killed=True)], last_lines=["a\n"], host="b")
    assert NodeExit.from_record(json.loads(json.dumps(node.to_record()))) == node


def test_records_are_as_they_always_were() -> None:
    """Nodes and heads of one launch, and later attempts, read them."""
    assert MEMORY.to_record() == {
        "outcome": "out_of_memory",
        "reason": "memory ran out in step 3",
        "retry": True,
        "split": [4, 1],
    }
    assert LOST.to_record() == {
        "outcome": "failed",
        "reason": "Connection closed by peer",
        "retry": True,
        "lost_peer": True,
    }
    assert DONE.to_record() == {"outcome": "succeeded", "reason": None, "retry": False, "result": {"step": 12}}
    told = end(1, 75, TOLD).to_record()
    assert told == {"rank": 1, "code": 75, "killed": False, "outcome": TOLD.to_record(), "said_at": 1.0}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"exit_code": "1", "ends": [], "last_lines": []},
        {"exit_code": 1, "ends": [3], "last_lines": []},
        {"exit_code": 1, "ends": [{"rank": 1, "code": -999, "said_at": 0}], "last_lines": []},
        {"exit_code": 1, "ends": [{"rank": 1, "code": 1, "said_at": 0, "outcome": {"outcome": "x"}}], "last_lines": []},
        {"exit_code": 1, "ends": [{"rank": 1, "code": 1, "said_at": 0, "outcome": 7}], "last_lines": []},
        {"exit_code": 1, "ends": [], "last_lines": {}},
    ],
)
def test_a_record_of_another_form_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^not "):
        NodeExit.from_record(record)
