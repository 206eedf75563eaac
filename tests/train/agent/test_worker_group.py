"""The training processes of a machine end together, and what they print and report arrives."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from runner.runs.record_types.node import NodeAssignment
from runner.train.agent.outcome import Outcome
from runner.train.agent.timing import Timing
from runner.train.agent.worker_group import WorkerGroup

ASSIGNMENT: NodeAssignment = {
    "number": 1,
    "token": "0001-aaaa",
    "split": None,
    "world_size": 4,
    "local_world_size": 2,
    "addresses": ["127.0.0.1", "127.0.0.1"],
    "port": 1,
}
BEGIN = """
import json, os, sys, time
events = int(sys.argv[sys.argv.index("--events") + 1])
def send(kind, **fields):
    os.write(events, json.dumps({"kind": kind, **fields}).encode() + b"\\n")
assignment = json.loads(sys.stdin.readline())
rank = assignment["rank"]
"""


class Group:
    """Two processes of a script, and what came from them."""

    def __init__(self, script: str, *, first_rank: int = 0, timing: Timing) -> None:
        self.lines: list[str] = []
        self.progress: list[Mapping[str, Any]] = []
        self.notices: list[tuple[str, str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.group = WorkerGroup(
            2,
            spawn=lambda arguments, events: self.spawn(BEGIN + script, arguments, events),
            on_output=self.lines.append,
            on_progress=self.progress.append,
            on_notice=lambda level, text: self.notices.append((level, text)),
            first_rank=first_rank,
            timing=timing,
        )
        self.group.start([])
        self.group.assign(ASSIGNMENT, checkpoint=None)

    def spawn(self, script: str, arguments: Sequence[str], events: int) -> "subprocess.Popen[bytes]":
        command, pipe = [sys.executable, "-c", script, *arguments], subprocess.PIPE
        self.processes.append(
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, pass_fds=[events])
        )
        return self.processes[-1]

    def end(self) -> list[tuple[int, int, bool]]:
        assert self.group.wait(30)
        self.group.end(terminate_first=False, grace_seconds=1.0)
        return [(end.rank, end.code, end.killed) for end in self.group.ends()]


def test_what_they_print_and_report_arrives_with_their_ranks() -> None:
    script = """
print("hello")
send("progress", step=rank)
send("notice", level="warning", text=f"rank {rank}")
send("outcome", outcome="succeeded", reason=None, retry=False, result={"rank": rank})
"""
    workers = Group(script, timing=Timing())
    assert workers.end() == [(0, 0, False), (1, 0, False)]
    assert sorted(workers.lines) == ["[rank 1] hello\n", "hello\n"]
    assert workers.progress == [{"step": 0}], "of the first of all"
    assert workers.notices == [("warning", "rank 0")]
    assert [end.outcome for end in workers.group.ends()] == [
        Outcome(kind="succeeded", reason=None, retry=False, result={"rank": rank}) for rank in range(2)
    ]


def test_on_another_machine_ranks_go_on_and_progress_is_not_passed_on() -> None:
    workers = Group("print(rank, assignment['world_size']); send('progress', step=1)", first_rank=2, timing=Timing())
    assert workers.end() == [(2, 0, False), (3, 0, False)]
    assert sorted(workers.lines) == ["[rank 2] 2 4\n", "[rank 3] 3 4\n"]
    assert workers.progress == []


@pytest.mark.parametrize(("code", "timing"), [(1, Timing(peer=0.3)), (75, Timing(upload=0.3))])
def test_when_one_has_ended_early_the_others_are_not_left_waiting(code: int, timing: Timing) -> None:
    begun = time.monotonic()
    workers = Group(f"sys.exit({code}) if rank else time.sleep(60)", timing=timing)
    assert workers.end() == [(0, -9, True), (1, code, False)]
    assert time.monotonic() - begun < 20
