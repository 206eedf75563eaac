"""The local engine carries a run to its end whatever kills its attempts, and leaves nothing behind."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.backends.local.supervisor import Supervisor
from runner.paths import state_folder
from runner.runs.liveness import newest_attempt
from runner.runs.metrics import read_metrics
from runner.runs.records import run_result
from runner.runs.status import run_status
from runner.storage.store import Store, StoreUnavailable
from support.bench import STAND_IN, Bench, gone, wait_until


def test_a_run_continues_after_a_kill_and_after_an_interruption(bench: Bench) -> None:
    bench.submit()
    done = bench.supervise("run", {"1": ["kill", 5], "2": ["interrupt", 7]})
    assert done.returncode == 0, done
    assert "the attempt was killed (SIGKILL); starting it again" in done.stdout
    assert "attempt 2 continues from step 4" in done.stdout
    assert "attempt 3 continues from step 6" in done.stdout
    assert run_status(bench.store, "run").state == "succeeded"
    steps = [record["step"] for record in read_metrics(bench.store, "run")]
    assert steps == list(range(1, 11))


def test_the_user_sees_the_attempts_notices_and_not_what_libraries_print(bench: Bench) -> None:
    bench.submit()
    done = bench.supervise("run", {"1": ["kill", 5]})
    shown = [line for line in done.stdout.splitlines() if "warning" in line or line.startswith("attempt")]
    assert shown == [
        "warning: attempt 1 is a stand-in",
        "attempt 2 continues from step 4",
        "warning: attempt 2 is a stand-in",
    ]


def test_an_ended_run_leaves_nothing_on_the_machine(bench: Bench) -> None:
    bench.submit()
    assert bench.supervise("run", {}).returncode == 0
    assert not state_folder(bench.store.url, "run").exists()


def test_a_killed_attempt_is_recorded_as_such_by_who_saw_it(bench: Bench) -> None:
    bench.submit()
    bench.supervise("run", {"1": ["kill", 5], "2": ["stop", 5]})
    ended = json.loads(bench.store.get("runs/run/attempts/0001.ended.json"))
    assert (ended["exit_code"], ended["outcome"], ended["retry"]) == (-9, "interrupted", True)
    assert "SIGKILL" in ended["reason"]


def test_attempts_without_progress_come_to_an_end(bench: Bench) -> None:
    """Each gets one step further than nothing: no newer checkpoint, so the third is the last."""
    bench.submit()
    done = bench.supervise("run", {"*": ["kill", 1]}, fruitless_attempts=3, first_backoff_seconds=0.01)
    assert done.returncode == 75
    assert "giving up: 3 attempts in a row" in done.stdout
    status = run_status(bench.store, "run")
    assert (status.state, status.attempts) == ("interrupted", 3)


def test_progress_makes_up_for_attempts_without(bench: Bench) -> None:
    """Two fruitless attempts, one that commits a checkpoint, two fruitless ones: no three in a row."""
    bench.submit()
    plan = {"1": ["kill", 1], "2": ["kill", 1], "3": ["kill", 3], "4": ["kill", 2], "5": ["kill", 2]}
    done = bench.supervise("run", plan, fruitless_attempts=3, first_backoff_seconds=0.01)
    assert done.returncode == 0, done


def test_an_attempt_that_says_so_is_not_started_again(bench: Bench) -> None:
    bench.submit()
    done = bench.supervise("run", {"1": ["stop", 3]})
    assert done.returncode == 75
    assert "not started again: the disk is full" in done.stdout
    assert run_status(bench.store, "run").attempts == 1


@pytest.mark.parametrize(("verb", "code"), [("fail", 1), ("mistake", 2)])
def test_a_failed_run_is_not_started_again(bench: Bench, verb: str, code: int) -> None:
    bench.submit()
    assert bench.supervise("run", {"1": [verb, 3]}).returncode == code
    status = run_status(bench.store, "run")
    assert (status.state, status.attempts) == ("failed", 1)


def test_an_attempt_that_dies_before_it_begins_is_not_started_again(bench: Bench) -> None:
    bench.submit()
    done = bench.supervise("run", {"*": ["crash", 0]})
    assert done.returncode == 75
    assert "exited with 1 and left no result" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_lets_the_attempt_save_and_leaves_no_process(bench: Bench, number: int, code: int) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"pace": 0.1})
    pids = bench.pids()
    wait_until(lambda: (run_status(bench.store, "run").step or 0) >= 3)
    supervisor.send_signal(number)
    assert supervisor.wait(120) == code
    assert all(map(gone, pids))
    attempt = newest_attempt(bench.store, "run")
    assert attempt is not None
    assert attempt.ended is not None
    assert attempt.ended["reason"] == "told to stop"
    assert run_status(bench.store, "run").state == "interrupted"
    assert bench.supervise("run", {}).returncode == 0


def test_a_second_ctrl_c_kills_an_attempt_that_does_not_stop(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"1": ["hang", 2]})
    pids = bench.pids()
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.stdout is not None
    while "Ctrl-C again" not in supervisor.stdout.readline():
        pass
    assert not any(map(gone, pids))
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(120) == 130
    wait_until(lambda: all(map(gone, pids)))


def test_an_attempt_that_does_not_stop_is_killed_after_its_grace(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"1": ["hang", 2]}, grace_seconds=0.5)
    pids = bench.pids()
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(120) == 75
    wait_until(lambda: all(map(gone, pids)))


def test_killing_the_supervisor_takes_the_whole_tree_with_it(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"1": ["hang", 2]})
    pids = bench.pids()
    assert not any(map(gone, pids))
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: all(map(gone, pids)))
    assert run_status(bench.store, "run").state == "interrupted"


def test_killing_the_attempt_alone_leaves_no_worker_that_trains_on(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"1": ["hang", 2]})
    leader, worker = bench.pids()
    os.kill(leader, signal.SIGKILL)
    wait_until(lambda: gone(worker))
    assert supervisor.wait(120) == 0


def test_a_cancelled_run_is_not_started_again(bench: Bench) -> None:
    """The attempt dies before it has seen the request: the supervisor ends the run in its place."""
    bench.submit()
    supervisor = bench.start_supervisor("run", {"1": ["hang", 2], "deaf": True})
    leader, _ = bench.pids()
    bench.store.create("runs/run/cancel.json", b"{}")
    os.kill(leader, signal.SIGKILL)
    assert supervisor.wait(120) == 1
    result = run_result(bench.store, "run")
    assert result is not None
    assert (result["state"], result["attempts"]) == ("cancelled", 1)


def test_a_pause_between_attempts_ends_when_the_run_is_cancelled(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"*": ["kill", 1]}, first_backoff_seconds=60.0)
    wait_until(lambda: run_status(bench.store, "run").state == "interrupted")
    bench.store.create("runs/run/cancel.json", b"{}")
    assert supervisor.wait(120) == 1
    assert run_status(bench.store, "run").state == "cancelled"


def test_nothing_is_started_beside_an_attempt_that_began_elsewhere(bench: Bench) -> None:
    bench.submit()
    supervisor = bench.start_supervisor("run", {"1": ["hang", 2]})
    leader, _ = bench.pids()
    claim = {"token": "0002-abcd", "number": 2, "host": "elsewhere", "boot_id": "another", "pid": 1}
    bench.store.create("runs/run/attempts/0002.json", json.dumps(claim).encode())
    os.kill(leader, signal.SIGKILL)
    assert supervisor.wait(120) == 75
    assert "attempt 2 of the run began elsewhere, on elsewhere" in (
        supervisor.stdout.read() if supervisor.stdout else ""
    )


def test_a_full_state_folder_is_a_mistake_that_is_explained(bench: Bench, tmp_path: Path) -> None:
    """No room, or no right, to write below XDG_STATE_HOME."""
    bench.submit()
    bench.environment["XDG_STATE_HOME"] = str(tmp_path / "file")
    (tmp_path / "file").write_text("in the way")
    done = bench.runner("resume", "run")
    assert done.returncode == 2
    assert "XDG_STATE_HOME" in done.stderr
    assert "Traceback" not in done.stderr


class Away:
    """A store that does not answer when asked for a run's result, for so many times."""

    def __init__(self, store: Store, times: int, then: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._times = times
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str) -> bytes:
        if key.endswith("result.json") and self._times:
            self._times -= 1
            self._then()
            raise StoreUnavailable("gone fishing")
        return self._store.get(key)


def supervised_here(bench: Bench, store: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    monkeypatch.setenv("PYTHONPATH", bench.environment["PYTHONPATH"])
    said: list[str] = []
    lock = bench.lock("run")
    supervisor = Supervisor(store, "run", environment={}, say=said.append, entrypoint=STAND_IN)
    code = supervisor.run()
    lock.close()
    return code, said


def test_a_store_that_is_away_for_a_while_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.submit()
    code, said = supervised_here(bench, Away(bench.store, 2), monkeypatch)
    assert code == 0
    assert [sentence for sentence in said if "the store does not answer (gone fishing)" in sentence] != []


def test_ctrl_c_works_while_the_store_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.submit()
    store = Away(bench.store, 1000, then=lambda: os.kill(os.getpid(), signal.SIGINT))
    assert supervised_here(bench, store, monkeypatch)[0] == 130


def test_a_failure_outside_leaves_the_run_to_who_follows_it(bench: Bench) -> None:
    """Who can mend it; what runs in the background is started again, within a limit."""
    bench.recipe()
    done = bench.runner("launch", "small.yaml", "--name", "try", plan={"1": ["outside", 5]})
    assert done.returncode == 75, done
    assert run_status(bench.store, "try").attempts == 1
    assert "a service does not answer" in done.stderr
    assert bench.runner("resume", "try").returncode == 0


def test_in_the_background_it_is_started_again_within_a_limit(bench: Bench) -> None:
    bench.submit()
    limits = {"fruitless_outside_attempts": 3, "first_backoff_seconds": 0.01}
    done = bench.supervise("run", {"1": ["outside", 5], "2": ["outside", 7], "*": ["outside", 7]}, **limits)
    assert done.returncode == 75
    assert "giving up: 3 attempts in a row" in done.stdout
    assert run_status(bench.store, "run").attempts == 5
