"""`runner launch --once`: however often a recipe is launched, there is one run."""

import json
import subprocess
from typing import Any

import pytest

from runner.runs.attempts import claim_attempt
from runner.runs.layout import CLAIMS, numbered_key
from runner.runs.records import encoded
from runner.runs.status import RunStatus, run_status
from runner.runs.submission.claims import claim_start
from support.bench import Bench

ONCE = ("launch", "small.yaml", "--once")


@pytest.fixture
def repository(bench: Bench) -> Bench:
    """A recipe in a repository with one commit."""
    bench.recipe()
    git(bench, "init", "-q")
    commit(bench)
    return bench


def git(bench: Bench, *arguments: str) -> None:
    person = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    subprocess.run(["git", *person, *arguments], cwd=bench.folder, check=True)


def commit(bench: Bench) -> None:
    git(bench, "add", "small.yaml")
    git(bench, "commit", "-qm", "x", "--allow-empty")


def only_run(bench: Bench) -> RunStatus:
    (run_id,) = bench.store.folders("runs/")
    return run_status(bench.store, run_id)


def test_the_same_launched_again_is_the_run_that_is_there(repository: Bench) -> None:
    bench = repository
    first = bench.runner(*ONCE)
    assert first.returncode == 0, first
    run = only_run(bench)
    assert run.run_id.startswith("small-")
    for more in ([], ["--detach"], ["--infra", "local", "--max-cost", "5", "--hourly-cost", "1"]):
        again = bench.runner(*ONCE, "--json", *more)
        assert again.stdout, again
        assert (again.returncode, json.loads(again.stdout)["run_id"]) == (0, run.run_id), again
        assert f"joining {run.run_id}" in again.stderr
    assert (only_run(bench).attempts, only_run(bench).state) == (1, "succeeded")


def test_other_settings_another_commit_or_a_change_make_another_run(repository: Bench) -> None:
    bench = repository

    def launched(*more: str) -> str:
        done = bench.runner(*ONCE, "--json", *more)
        assert done.returncode == 0, done
        return str(json.loads(done.stdout)["run_id"])

    ids = [launched(), launched("--set", "training.learning_rate=1e-5")]
    commit(bench)
    ids.append(launched())
    (bench.folder / "reward.py").write_text("a = 1\n")
    git(bench, "add", "reward.py")
    ids.append(launched())
    (bench.folder / "reward.py").write_text("a = 2\n")
    ids.append(launched())
    assert len(set(ids)) == 5
    git(bench, "checkout", "-q", "-f", "HEAD~1")
    assert launched() == ids[0]


@pytest.mark.parametrize(("end", "code"), [("fail", 1), ("stop", 75)])
def test_a_run_that_failed_or_was_interrupted_goes_on(repository: Bench, end: str, code: int) -> None:
    bench = repository
    plan: dict[str, Any] = {"1": [end, 4]}
    assert bench.runner(*ONCE, plan=plan).returncode == code
    done = bench.runner(*ONCE, plan=plan)
    assert done.returncode == 0, done
    run = only_run(bench)
    assert (run.state, run.attempts) == ("succeeded", 2)


def test_several_launches_at_once_make_one_run_with_one_attempt(repository: Bench) -> None:
    bench = repository
    launches = [bench.start_runner(*ONCE, "--json") for _ in range(3)]
    ends = [launch.communicate(timeout=300) for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0, 0], ends
    run = only_run(bench)
    assert {json.loads(out)["run_id"] for out, _ in ends} == {run.run_id}
    assert run.attempts == 1


def test_several_launches_at_once_continue_a_failed_run_once(repository: Bench) -> None:
    bench = repository
    plan: dict[str, Any] = {"1": ["fail", 4]}
    bench.runner(*ONCE, plan=plan)
    launches = [bench.start_runner(*ONCE, plan=plan) for _ in range(2)]
    ends = [launch.communicate(timeout=300) for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], ends
    assert (only_run(bench).state, only_run(bench).attempts) == ("succeeded", 2)


def test_a_run_that_was_cancelled_has_a_successor(repository: Bench) -> None:
    bench = repository
    bench.runner(*ONCE, plan={"*": ["stop", 2]})
    run = only_run(bench)
    assert bench.runner("cancel", run.run_id).returncode == 0
    done = bench.runner(*ONCE, "--json")
    assert (done.returncode, json.loads(done.stdout)["run_id"]) == (0, f"{run.run_id}-2"), done
    assert "was cancelled: this is a new run" in done.stderr
    again = bench.runner(*ONCE, "--json")
    assert json.loads(again.stdout)["run_id"] == f"{run.run_id}-2"


def test_it_takes_no_name(repository: Bench) -> None:
    done = repository.runner(*ONCE, "--name", "mine")
    assert (done.returncode, "--once takes no --name" in done.stderr) == (2, True), done


def test_one_claims_the_start_of_a_run_until_it_has_started_or_time_has_passed(bench: Bench) -> None:
    run_id = bench.submit()
    assert claim_start(bench.store, run_id)
    assert not claim_start(bench.store, run_id)
    claim_attempt(bench.store, run_id, {"host": "a", "boot_id": None, "pid": 1, "started_at": "2026-01-01T00:00:00Z"})
    assert claim_start(bench.store, run_id), "it has started, and may have to be started again"
    old = {"number": 3, "nonce": "abc", "claimed_at": "2026-01-01T00:00:00+00:00", "attempts": 1, "launches": 0}
    assert bench.store.create(numbered_key(run_id, CLAIMS, 3), encoded(old))
    assert claim_start(bench.store, run_id), "whoever claimed it long ago is gone"
    assert not claim_start(bench.store, run_id)
