"""Training that hangs: it is ended, its stacks are in the log, and it goes on as if it had not hung."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from runner.recipe.recipe import Evaluate, Recipe, Watchdog
from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.logs import read_log
from runner.storage.open import open_store
from support.forked import Attempts
from support.method_recipes import grpo
from support.runs import NEVER_EVALUATED, assert_same, check_metrics, outcome, recipe, submit

JUDGE = """
import time
from pathlib import Path

calls = 0


def judge(completions, **kwargs):
    global calls
    calls += 1
    marker = Path({marker!r})
    if calls > 8 and not marker.exists():
        marker.touch()
        time.sleep(3600)
    return [text.count("e") / 10 for text in completions]
"""


def judged(data: Path, folder: Path) -> Recipe:
    """A GRPO run whose reward function does not return, once."""
    folder.mkdir()
    (folder / "judge.py").write_text(JUDGE.format(marker=str(folder / "hung")))
    what = grpo(data, adapter=True, steps_per_generation=1, **NEVER_EVALUATED)
    training = {**what.training, "reward_funcs": [f"{folder / 'judge.py'}:judge"]}
    return replace(
        what, training=training, evaluate=Evaluate(), watchdog=Watchdog(timeout_seconds=4.0, median_steps=1.0)
    )


@pytest.mark.thorough
def test_a_reward_that_never_returns_is_ended_and_the_run_ends_as_without_it(
    forked: Attempts, data: Path, tmp_path: Path
) -> None:
    store = open_store(forked.store_url)
    calm, hangs = judged(data, tmp_path / "calm"), judged(data, tmp_path / "hangs")
    (tmp_path / "calm/hung").touch()
    for run_id, what in (("calm", calm), ("hangs", hangs)):
        submit(store, run_id, what)
        assert forked.run(run_id) == 0, forked.log(run_id)
    first, second = attempts(store, "hangs")
    assert first.ended is not None
    assert (first.ended.get("hung"), first.ended.get("again"), first.ended.get("outcome")) == (
        True,
        True,
        "interrupted",
    )
    assert "training hung: no step for" in str(first.ended.get("reason"))
    assert second.restored is not None
    log, _ = read_log(store, "hangs")
    assert "judge.py" in log
    assert "in judge" in log
    assert_same(outcome(store, "hangs"), outcome(store, "calm"))
    check_metrics(outcome(store, "hangs")["metrics"])


@pytest.mark.thorough
def test_a_process_that_is_stopped_is_ended_and_the_run_goes_on(forked: Attempts, data: Path) -> None:
    store = open_store(forked.store_url)
    what = recipe(data, adapter=True, **NEVER_EVALUATED, max_steps=300)
    submit(store, "stopped", replace(what, watchdog=Watchdog(timeout_seconds=4.0)))
    process = forked.start("stopped")
    while not checkpoints(store, "stopped"):
        assert process.is_alive(), forked.log("stopped")
        time.sleep(0.02)
    [worker] = psutil.Process(process.pid).children()
    os.kill(worker.pid, signal.SIGSTOP)
    process.join(300)
    assert process.exitcode == 0, forked.log("stopped")
    assert "none: it is stopped (SIGSTOP)" in read_log(store, "stopped")[0]
    assert [bool(attempt.ended and attempt.ended.get("hung")) for attempt in attempts(store, "stopped")] == [
        True,
        False,
    ]
    check_metrics(outcome(store, "stopped")["metrics"], steps=300)
