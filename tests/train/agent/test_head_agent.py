"""The head's part in an attempt, with training processes of a line of Python."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.notices import NoticeReader
from runner.recipe.recipe import Watchdog
from runner.redaction import Redactor
from runner.runs.attempts import claim_attempt, write_restored
from runner.storage.local import LocalStore
from runner.storage.store import NotFound
from runner.train.agent import head_attempt
from runner.train.agent.log import set_up_logging
from support.head_agents import HANGS, RUNS_OUT_OF_MEMORY, SUCCEEDS, TRAINS, WORKER, agent, log, record, when


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_run_that_succeeds_has_a_result_and_an_end(store: LocalStore) -> None:
    assert agent(store, SUCCEEDS).run() == 0
    result = record(store, "result.json")
    assert (result["state"], result["attempts"], result["step"], result["artifacts"]) == ("succeeded", 1, 3, {})
    machine = record(store, "attempts/0001.machine.json")
    assert (result["versions"], result["driver"]) == (machine["versions"], machine["driver"])
    assert result["versions"]["psutil"]
    assert 0 < result["duration_seconds"] < 60
    ended = record(store, "attempts/0001.ended.json")
    ended.pop("ended_at")
    ended.pop("token")
    assert ended == {"exit_code": 0, "outcome": "succeeded", "reason": None, "retry": False}


def test_no_value_of_a_secret_gets_into_the_store_or_onto_the_screen(
    store: LocalStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, as the reason of a failure, and as a notice; written plainly and in base64."""
    secret = "correct-horse-battery"
    code = (
        WORKER
        + f"""
import base64
print("login with {secret}", base64.b64encode(b"user:{secret}").decode(), flush=True)
send("notice", level="warning", text="no {secret}")
send("outcome", outcome="failed", reason="refused: {secret}", retry=False)
sys.exit(1)
"""
    )
    assert agent(store, code, redact=Redactor({"PASSWORD": secret})).run() == 1
    assert record(store, "result.json")["reason"] == "refused: ***PASSWORD***"
    assert "login with ***PASSWORD***" in log(store)
    written = b"".join(path.read_bytes() for path in Path(store.url).parent.rglob("*") if path.is_file()).decode()
    shown = written + "".join(capsys.readouterr())
    assert secret not in shown
    assert "dXNlcjpjb3JyZWN0LWhvcnNlLWJhdHRlcnk" not in shown


def test_a_signal_reaches_the_workers(store: LocalStore) -> None:
    """They save and end; nothing is killed."""
    when(lambda: "ready" in log(store), lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert agent(store, HANGS).run() == 75
    ended = record(store, "attempts/0001.ended.json")
    assert (ended["outcome"], ended["reason"], ended["retry"]) == (
        "interrupted",
        "stopped by SIGTERM (Ctrl-C, a preemption or `kill`)",
        True,
    )


def test_a_cancelled_run_ends(store: LocalStore) -> None:
    when(lambda: "ready" in log(store), lambda: assert_created(store, "runs/run/cancel.json"))
    assert agent(store, HANGS).run() == 1
    assert record(store, "result.json")["state"] == "cancelled"
    assert record(store, "attempts/0001.ended.json")["outcome"] == "cancelled"


def assert_created(store: LocalStore, key: str) -> None:
    assert store.create(key, b"{}")


def test_a_superseded_attempt_ends_without_a_result(store: LocalStore) -> None:
    when(lambda: "ready" in log(store), lambda: write_restored(store, claim_attempt(store, "run", {}), None))
    assert agent(store, HANGS).run() == 75
    assert record(store, "attempts/0001.ended.json")["outcome"] == "superseded"
    assert not any(info.key.endswith("result.json") for info in store.objects("runs/run/"))


def test_after_a_shortage_of_memory_the_same_agent_goes_on_in_smaller_pieces(store: LocalStore) -> None:
    set_up_logging()
    notices = NoticeReader(Path(store.url).parent / "work")
    assert agent(store, RUNS_OUT_OF_MEMORY).run() == 0
    first, second = (record(store, f"attempts/000{number}.ended.json") for number in (1, 2))
    assert (first["outcome"], first["retry"], first["split"], first["again"]) == ("interrupted", True, [2, 2], True)
    assert (second["outcome"], "split" in second, "again" in second) == ("succeeded", False, False)
    assert record(store, "result.json")["split"] == [2, 2]
    said = [str(notice) for notice in notices.read()]
    assert said[0].startswith("warning: memory ran out in step 3; going on with micro-batches of 2")
    assert said[1] == "attempt 2 trains in micro-batches of 2, 2 in a step, since memory ran out"


def test_a_workers_warnings_reach_whoever_launched_the_run(store: LocalStore) -> None:
    notices = NoticeReader(Path(store.url).parent / "work")
    assert agent(store, SUCCEEDS).run() == 0
    assert [str(notice) for notice in notices.read()] == ["warning: the hub is slow"]


def test_an_attempt_too_many_ends_before_it_begins(store: LocalStore) -> None:
    """Exit code 1: 75 asks for another attempt."""
    for _ in range(2):
        write_restored(store, claim_attempt(store, "run", {}), None)
    assert agent(store, SUCCEEDS, give_up_after=2).run() == 1
    ended = record(store, "attempts/0003.ended.json")
    assert (ended["exit_code"], ended["outcome"], ended["retry"]) == (1, "interrupted", False)
    assert ended["reason"] == "gave up: 2 attempts in a row got no further than the last checkpoint"


def test_without_the_other_machines_it_ends(store: LocalStore) -> None:
    assert agent(store, HANGS, nodes=2).run() == 75
    ended = record(store, "attempts/0001.ended.json")
    assert (ended["outcome"], ended["retry"]) == ("interrupted", True)
    assert "machines 1 did not come" in ended["reason"]


def test_a_worker_that_is_killed_interrupts_the_attempt(store: LocalStore) -> None:
    assert agent(store, WORKER + "os.kill(os.getpid(), signal.SIGKILL)").run() == 75
    ended = record(store, "attempts/0001.ended.json")
    assert ended["reason"] == "the training process was killed by SIGKILL"


JUDGE = "def ask_the_judge():\n    time.sleep(60)\nask_the_judge()\n"


def test_training_that_hangs_is_ended_with_its_stacks_in_the_log_and_has_failed_after_three_times(
    store: LocalStore,
) -> None:
    set_up_logging()
    first = agent(store, TRAINS + JUDGE, watchdog=Watchdog(timeout_seconds=0.4))
    assert first.run() == 75, "the second time, another machine may do better"
    ended = [record(store, f"attempts/000{number}.ended.json") for number in (1, 2)]
    assert [(end["outcome"], end["retry"], end["hung"], end["again"]) for end in ended] == [
        ("interrupted", True, True, True),
        ("interrupted", True, True, False),
    ]
    assert ended[0]["reason"].startswith("training hung: no step for 0 s, after step 5; the log has the stacks")
    assert "in ask_the_judge" in log(store)
    assert "stacks of training process 0" in log(store)
    assert agent(store, TRAINS + JUDGE, watchdog=Watchdog(timeout_seconds=0.4)).run() == 1
    result = record(store, "result.json")
    assert (result["state"], result["attempts"]) == ("failed", 3)
    assert "after step 5" in result["reason"]
    assert "3 times in a row, without a newer checkpoint" in result["reason"]


def test_a_stopped_process_is_ended_and_the_log_says_why_it_shows_no_stack(store: LocalStore) -> None:
    set_up_logging()
    code = TRAINS + "os.kill(os.getpid(), signal.SIGSTOP)"
    assert agent(store, code, watchdog=Watchdog(timeout_seconds=0.4)).run() == 75
    assert "none: it is stopped (SIGSTOP)" in log(store)


def test_training_that_hangs_once_goes_on_in_the_next_attempt(store: LocalStore) -> None:
    code = TRAINS + "if assignment['number'] == 1:\n    time.sleep(60)\n"
    code += 'send("outcome", outcome="succeeded", reason=None, retry=False, result={})'
    assert agent(store, code, watchdog=Watchdog(timeout_seconds=0.4)).run() == 0
    assert record(store, "result.json")["attempts"] == 2


def test_batches_within_a_long_step_keep_an_attempt_alive(store: LocalStore) -> None:
    code = TRAINS + 'for _ in range(40):\n    time.sleep(0.05)\n    send("alive")\n'
    code += 'send("outcome", outcome="succeeded", reason=None, retry=False, result={})'
    assert agent(store, code, watchdog=Watchdog(timeout_seconds=0.5)).run() == 0
    assert record(store, "result.json")["attempts"] == 1


def test_the_heartbeat_says_how_long_nothing_has_happened(store: LocalStore) -> None:
    def idle() -> bool:
        try:
            beat = record(store, "attempts/0001.heartbeat.json")
        except NotFound:
            return False
        return beat.get("idle_seconds", 0) > 0.3 and beat["hang_seconds"] == 60 and beat["step"] == 5

    when(idle, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert agent(store, TRAINS + JUDGE, watchdog=Watchdog(timeout_seconds=60)).run() == 75


def test_of_two_jobs_that_make_attempts_at_one_run_the_older_ends_for_good(store: LocalStore) -> None:
    """With 75, SkyPilot would start it again, and that attempt would end the other job's, and so on."""
    when(lambda: "ready" in log(store), lambda: write_restored(store, claim_attempt(store, "run", {}), None))
    assert agent(store, HANGS, give_up_after=10).run() == 1
    assert record(store, "attempts/0001.ended.json")["outcome"] == "superseded"


def test_an_attempt_that_fetches_a_large_checkpoint_shows_that_it_lives(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it is taken for dead after a minute, and another one may be started beside it."""

    def slow(*args: Any, **options: Any) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                assert record(store, "attempts/0001.heartbeat.json")["phase"] == "starting"
                return
            except NotFound:
                time.sleep(0.02)
        raise AssertionError("no heartbeat")

    monkeypatch.setattr(head_attempt, "restore_newest", slow)
    assert agent(store, SUCCEEDS).run() == 0
