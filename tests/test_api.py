"""The Python API does what the commands do, prints nothing, and raises nothing but `UserError`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runner
from runner.backends.base import Placement, ResolvedResources
from runner.backends.local import backend
from runner.control.launching.cost import CostQuestion
from runner.errors import UserError
from runner.runs.status import RunStatus
from runner.storage.local import LocalStore
from runner.storage.store import StoreUnavailable
from support.bench import bench as bench
from support.bench import wait_until
from support.in_process import InProcess
from support.in_process import here as here


def test_a_run_from_its_launch_to_its_results(here: InProcess) -> None:
    run = runner.launch("small.yaml", overrides={"training.learning_rate": 0.5}, name="try")
    status = run.wait(timeout_seconds=60)
    assert isinstance(status, RunStatus)
    assert (status.run_id, status.state, status.step) == ("try", "succeeded", 10)
    document = json.loads(here.bench.store.get("runs/try/run.json"))
    assert document["settings"]["training.learning_rate"] == {"value": 0.5, "source": "flag"}
    assert [record["step"] for record in run.metrics()] == list(range(1, 11))
    assert "step 10" in run.logs()
    result = run.result()
    assert result is not None
    assert result["state"] == "succeeded"
    folder = run.pull("out")
    assert (folder / "artifacts/model/model.safetensors").exists()
    assert folder == Path("out")


def test_overrides_are_values_or_strings(here: InProcess) -> None:
    first = runner.launch("small.yaml", overrides=["training.max_steps=3"])
    second = runner.launch(Path("small.yaml"), overrides="training.max_steps=4")
    for run, steps in ((first, 3), (second, 4)):
        assert run.wait(60).state == "succeeded"
        document = json.loads(here.bench.store.get(f"runs/{run.run_id}/run.json"))
        assert document["recipe"]["training"]["max_steps"] == steps
    with pytest.raises(UserError, match=r"the flag for training\.max_stops"):
        runner.launch("small.yaml", overrides={"training.max_stops": 3})


def test_a_run_is_found_again_and_listed(here: InProcess) -> None:
    assert runner.list_runs() == []
    first = runner.launch("small.yaml", name="first", store=here.bench.folder / "other")
    first.wait(60)
    assert runner.list_runs() == []
    second = runner.launch("small.yaml", name="second", store=first.store)
    second.wait(60)
    runs = runner.list_runs(first.store)
    called: Any = runner.runs  # a package to a type checker
    assert [run.run_id for run in called(first.store)] == [run.run_id for run in runs]
    assert {run.run_id for run in runs} == {"first", "second"}
    assert runner.Run("last", first.store).run_id == runs[0].run_id
    assert runner.Run("fir", first.store).status().state == "succeeded"
    assert repr(runner.Run("first", first.store)) == f"Run('first', {first.store!r})"
    with pytest.raises(UserError, match="no run 'third'"):
        runner.Run("third")


def test_an_interrupted_run_is_resumed(here: InProcess) -> None:
    here.plan({"1": ["stop", 4]})
    run = runner.launch("small.yaml", name="try")
    assert run.wait(60).state == "interrupted"
    assert run.result() is None
    here.plan({})
    assert runner.resume(run).wait(60).state == "succeeded"
    with pytest.raises(UserError, match="the run has succeeded"):
        runner.resume("try")


def test_a_run_is_cancelled(here: InProcess) -> None:
    here.plan({"pace": 0.2})
    run = runner.launch("small.yaml")
    wait_until(lambda: run.status().state == "running")
    assert run.wait(timeout_seconds=0).state == "running"
    assert run.cancel().state == "cancelled"
    here.plan({})
    finished = runner.launch("small.yaml")
    finished.wait(60)
    with pytest.raises(UserError, match="has succeeded already"):
        finished.cancel()


def test_a_run_that_cannot_begin_says_why(here: InProcess) -> None:
    here.plan({"*": ["crash", 0]})
    with pytest.raises(UserError, match="no attempt began"):
        runner.launch("small.yaml")
    with pytest.raises(UserError, match="takes no --gpu"):
        runner.launch("small.yaml", infra="local", gpu="T4")
    with pytest.raises(UserError, match="NOT_SET_ANYWHERE is not set"):
        runner.launch("small.yaml", secrets=["NOT_SET_ANYWHERE"])


def test_a_cost_above_the_limit_needs_an_answer(here: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one nothing is launched; the question says what it is about."""
    machines = ResolvedResources(resources={}, num_nodes=1, infra="aws", accelerators={"A100": 8}, notes=())
    monkeypatch.setattr(backend.LocalBackend, "resolve", lambda *_, **__: Placement(infra="local", machines=machines))
    monkeypatch.setenv("RUNNER_ASK_ABOVE", "0")
    with pytest.raises(UserError, match="pass confirm="):
        runner.launch("small.yaml")
    questions: list[CostQuestion] = []

    def no(question: CostQuestion) -> bool:
        questions.append(question)
        return False

    with pytest.raises(UserError, match=r"not launched: it may cost more than \$0"):
        runner.launch("small.yaml", confirm=no)
    assert questions[0].text == "That may cost more than $0. Launch it?"
    assert questions[0].plan.startswith("A100:8 on aws")
    assert here.bench.store.folders("runs/") == []
    assert runner.launch("small.yaml", confirm=lambda question: True).wait(60).state == "succeeded"


def test_a_store_that_does_not_answer_is_a_user_error(here: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runner.launch("small.yaml")
    run.wait(60)

    def away(*_: object) -> bytes:
        raise StoreUnavailable("no route to host")

    monkeypatch.setattr(LocalStore, "get", away)
    for call in (run.status, run.result, lambda: run.wait(0)):
        with pytest.raises(UserError, match="the store does not answer: no route to host"):
            call()


def test_importing_runner_imports_nothing_else() -> None:
    code = "import sys; import runner; print([name for name in sys.modules if name.startswith('runner.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.stdout == "[]\n", done
    kinds = {"Recipe", "Run", "RunFailed", "RunResult", "Sweep", "UserError", "__version__"}
    assert set(dir(runner)) == {*kinds, "compare", "launch", "list_runs", "list_sweeps", "resume", "sweep"}
    assert all(getattr(runner, name) is not None for name in dir(runner))
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        _ = runner.lunch
