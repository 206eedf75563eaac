"""The action from end to end: a real training on this machine, of the builtin model."""

import json
import subprocess

import pytest

from runner.runs.listing import list_runs
from support.bench import Bench, bench
from support.ci_steps import Action, Job

__all__ = ["bench"]

REAL = "from runner.cli.main import main\nmain()\n"


@pytest.mark.thorough
def test_a_change_is_trained_and_held_against_the_main_branch(bench: Bench) -> None:
    bench.recipe(max_steps=2, effective_batch_size=2, max_length=64)
    person = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    job = Job(bench, program=REAL)

    def trained(*git: str, event: str, **inputs: str) -> Action:
        for command in (list(git), ["add", "small.yaml"], [*person, "commit", "-qm", "x", "--allow-empty"]):
            subprocess.run(["git", *command], cwd=bench.folder, check=True)
        given = {"store": bench.store.url, "recipe": "small.yaml", "args": "--infra local", **inputs}
        here = {"repo": {"full_name": "acme/models"}, "sha": "b" * 40}
        payload = {"number": 3, "pull_request": {"number": 3, "head": here, "base": here}}
        run = Action(job, "", job.github(event, payload if event == "pull_request" else {}), given)
        for step in ("launch", "finish"):
            done = run.step(step)
            assert done.returncode == 0, done
        return run

    first = trained("init", "-q", "-b", "main", event="push").outputs()
    assert float(first["eval_loss"] or "0") >= 0
    require = "loss <= 1.02 * baseline.loss"
    run = trained("checkout", "-q", "-b", "change", event="pull_request", baseline="main", require=require)
    assert run.outputs()["passed"] == "true"
    gate = json.loads((job.checkout / "runner-report" / "gate.json").read_text())
    assert gate["baseline"] == first["run_id"]
    assert {status.state for status in list_runs(bench.store)} == {"succeeded"}
    assert "| baseline |" in (job.checkout / run.outputs()["comment"]).read_text()
