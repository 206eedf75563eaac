"""A failed run goes on when its owner asks: from its last checkpoint, with its history kept, seen by everybody."""

import json
from pathlib import Path

import pytest

from runner.control.results.pull import pull
from runner.control.wait import wait_for_end
from runner.paths import listing_cache
from runner.runs.listing import list_runs
from runner.runs.metrics import read_metrics
from runner.runs.records import run_result, times_reopened, write_cancel_request
from runner.runs.remembered.ended import EndedRuns
from runner.runs.reopened import current_document, newest_reopening, reopen_run, reward_files
from runner.runs.status import exit_code, run_status
from support.bench import Bench

BROKEN = "def score(completions, **kwargs):\n    return [kwargs['missing'] for _ in completions]\n"
MENDED = "def score(completions, **kwargs):\n    return [1.0 for _ in completions]\n"


def failed(bench: Bench, verb: str = "fail") -> None:
    """A run that failed at its fifth step, with a checkpoint of the fourth."""
    bench.submit("try")
    assert bench.supervise("try", {"1": [verb, 5]}).returncode == (2 if verb == "mistake" else 1)


@pytest.mark.parametrize("verb", ["fail", "mistake"])
def test_a_failed_run_goes_on_from_its_last_checkpoint(bench: Bench, verb: str) -> None:
    failed(bench, verb)
    before = bench.store.get("runs/try/result.json")
    done = bench.runner("resume", "try", "--json")
    assert done.returncode == 0, done
    assert "try failed at step 5 of 10: failed by the stand-in" in done.stderr
    assert "attempt 2 continues from step 4" in done.stderr
    assert json.loads(done.stdout)["state"] == "succeeded"
    assert bench.store.get("runs/try/result.json") == before, "what is written once is never changed"
    result = run_result(bench.store, "try")
    assert result is not None
    assert (result["state"], result["attempts"]) == ("succeeded", 2)
    steps = [record["step"] for record in read_metrics(bench.store, "try")]
    assert steps == list(range(1, 11))


def test_everybody_sees_how_it_ends_then(bench: Bench) -> None:
    """Also who has listed it as failed before, and remembers that."""
    failed(bench)
    assert [run.state for run in list_runs(bench.store)] == ["failed"]
    assert "try" in EndedRuns(listing_cache(bench.store.url)).read()
    assert bench.runner("resume", "try", plan={"2": ["interrupt", 7], "3": ["stop", 8]}).returncode == 75
    assert [(run.state, run.attempts) for run in list_runs(bench.store)] == [("interrupted", 3)]
    assert bench.runner("resume", "try").returncode == 0
    for _ in range(2):
        assert [(run.state, run.reopened) for run in list_runs(bench.store)] == [("succeeded", 1)]
    status = wait_for_end(bench.store, "try")
    assert (status.state, exit_code(status)) == ("succeeded", 0)
    collected = pull(bench.store, "try", bench.folder / "pulled", say=print)
    assert json.loads((collected.folder / "result.json").read_text())["state"] == "succeeded"
    assert bench.runner("wait", "try").returncode == 0


def test_a_run_that_fails_again_is_reopened_again(bench: Bench) -> None:
    failed(bench)
    assert bench.runner("resume", "try", plan={"2": ["fail", 7]}).returncode == 1
    assert [(run.state, run.step) for run in list_runs(bench.store)] == [("failed", 7)]
    assert bench.runner("resume", "try").returncode == 0
    assert times_reopened(bench.store, "try") == 2
    record = newest_reopening(bench.store, "try", times=2)
    assert record is not None
    assert (record["attempts"], record["state"], record["reason"]) == (2, "failed", "failed by the stand-in")
    assert [run.state for run in list_runs(bench.store)] == ["succeeded"]


def test_a_run_that_waits_for_its_next_attempt_says_so(bench: Bench) -> None:
    failed(bench)
    result = run_result(bench.store, "try")
    assert result is not None
    assert reopen_run(bench.store, "try", result, times=0)
    assert not reopen_run(bench.store, "try", result, times=0), "one of two wins"
    status = run_status(bench.store, "try")
    assert (status.state, status.retry, status.terminal) == ("interrupted", True, False)
    assert status.reason == "its owner goes on with it; no attempt has begun since"


def test_an_old_request_to_cancel_does_not_end_it_again(bench: Bench) -> None:
    """It came when the run failed by itself; a new request ends it for good."""
    failed(bench)
    write_cancel_request(bench.store, "try", {"requested_at": "then", "host": "here", "pid": 1})
    assert bench.runner("resume", "try", plan={"2": ["stop", 7]}).returncode == 75
    assert bench.runner("cancel", "try").returncode == 0
    assert run_status(bench.store, "try").state == "cancelled"
    done = bench.runner("resume", "try")
    assert (done.returncode, "an ended run stays as it is" in done.stderr) == (2, True)


def test_a_launch_does_not_go_on_with_it_unasked(bench: Bench) -> None:
    bench.recipe()
    assert bench.runner("launch", "small.yaml", "--name", "try", plan={"1": ["fail", 3]}).returncode == 1
    done = bench.runner("launch", "small.yaml", "--name", "try")
    assert done.returncode == 0, done
    assert "try has failed already: this is a new run" in done.stderr
    assert times_reopened(bench.store, "try") == 0


def with_reward(bench: Bench) -> Path:
    """A run that failed, whose reward is in a file."""
    rewards = bench.folder / "rewards.py"
    rewards.write_text(BROKEN)
    bench.store.create("runs/try/inputs/00/rewards.py", rewards.read_bytes())
    bench.submit("try", training={"max_steps": 10, "reward_funcs": ["inputs/00/rewards.py:score", "builtin:length"]})
    assert bench.supervise("try", {"1": ["fail", 5]}).returncode == 1
    rewards.write_text(MENDED)
    return rewards


def test_a_mended_reward_file_takes_its_place_and_is_recorded(bench: Bench) -> None:
    with_reward(bench)
    done = bench.runner("resume", "try", "--replace", "rewards.py")
    assert done.returncode == 0, done
    assert "takes the place of inputs/00/rewards.py from attempt 2 on" in done.stderr
    document = current_document(bench.store, "try")
    (new,) = reward_files(document)
    assert bench.store.get(f"runs/try/{new}").decode() == MENDED
    assert document["recipe"]["training"]["reward_funcs"] == [f"{new}:score", "builtin:length"]
    record = json.loads(bench.store.get("runs/try/replaced/0001.json"))
    assert record["inputs"] == {"inputs/00/rewards.py": new}
    assert (record["first_attempt"], bool(record["replaced_at"]), bool(record["host"])) == (2, True, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def other(completions, **kwargs):\n    return []\n", "defines no function `score`"),
        ("def score(completions):\n    return []\n", "cannot be called by TRL"),
        ("def score(:\n", "is not Python"),
    ],
)
def test_a_file_that_cannot_take_its_place_is_refused_and_nothing_is_begun(bench: Bench, text: str, words: str) -> None:
    with_reward(bench).write_text(text)
    done = bench.runner("resume", "try", "--replace", "rewards.py")
    assert done.returncode == 2, done
    assert words in done.stderr
    assert (times_reopened(bench.store, "try"), run_status(bench.store, "try").state) == (0, "failed")


def test_a_run_without_reward_files_takes_none(bench: Bench) -> None:
    failed(bench)
    (bench.folder / "rewards.py").write_text(MENDED)
    done = bench.runner("resume", "try", "--replace", "rewards.py")
    assert (done.returncode, "names no reward file" in done.stderr) == (2, True), done
