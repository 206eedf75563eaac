"""The action, the GitLab template and the shell recipe: their own steps, with the environment of their system."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from runner.runs.listing import list_runs
from runner.runs.status import run_status
from support.bench import Bench, bench, wait_until
from support.ci_steps import EXAMPLES, Action, Job, uses
from support.paths import ROOT

__all__ = ["bench"]

PUSH: dict[str, Any] = {"before": "0" * 40, "after": "a" * 40}
SLOW = {"pace": 0.2}


@pytest.fixture
def job(bench: Bench) -> Job:
    """A checkout with a recipe and one commit."""
    bench.recipe()
    person = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for command in (["init", "-q", "-b", "main"], ["add", "small.yaml"], [*person, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=bench.folder, check=True)
    return Job(bench)


def action(job: Job, folder: str = "", **inputs: str) -> Action:
    given = {"store": job.bench.store.url, **({} if folder else {"recipe": "small.yaml"})}
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    return Action(job, folder, job.github("push", PUSH), given)


def test_the_action_launches_waits_decides_and_reports(job: Job) -> None:
    run = action(job, require="eval_loss <= 2.5\nstep == 10", args="--set 'training.learning_rate=1e-4'")
    assert run.step("launch").returncode == 0
    done = run.step("finish")
    assert done.returncode == 0, done
    outputs = run.outputs()
    (status,) = list_runs(job.bench.store)
    assert (outputs["run_id"], outputs["state"], outputs["passed"]) == (status.run_id, "succeeded", "true")
    assert (float(outputs["eval_loss"]), outputs["cost"]) == (2.0, "")
    assert (job.checkout / outputs["report"]).read_text().startswith("<!doctype html>")
    summary = (job.kept / "summary.md").read_text()
    assert "### small succeeded: passed" in summary
    assert "| pass | eval&#95;loss &lt;= 2.5 | 2 &lt;= 2.5 |" in summary
    assert "````text" in summary
    body = (job.checkout / outputs["comment"]).read_text()
    assert body == f"<!-- runner: small -->\n{summary}"
    (suite,) = ElementTree.parse(job.checkout / "runner-report" / "gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "0")
    assert json.loads((job.checkout / "runner-report" / "gate.json").read_text())["passed"] is True


def test_a_requirement_that_does_not_hold_fails_the_job_and_the_job_started_again_pays_nothing(job: Job) -> None:
    for _ in range(2):
        run = action(job, require="eval_loss <= 1")
        assert run.step("launch").returncode == 0
        done = run.step("finish")
        assert (done.returncode, run.outputs()["passed"], run.outputs()["state"]) == (1, "false", "succeeded"), done
        assert "FAIL  eval_loss <= 1  (2 <= 1)" in done.stdout
    (status,) = list_runs(job.bench.store)
    assert status.attempts == 1


def test_a_time_limit_leaves_the_run_and_the_next_job_joins_it(job: Job) -> None:
    run = action(job, time_limit="0")
    assert run.step("launch", plan=SLOW).returncode == 0
    done = run.step("finish")
    assert (done.returncode, run.outputs()["passed"]) == (75, ""), done
    again = action(job)
    assert again.step("launch").returncode == 0
    assert again.step("finish").returncode == 0
    (status,) = list_runs(job.bench.store)
    assert (again.outputs()["run_id"], status.attempts, status.state) == (status.run_id, 1, "succeeded")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_cancelled_cancels_the_run(job: Job, number: signal.Signals) -> None:
    run = action(job)
    assert run.step("launch", plan={"pace": 5}).returncode == 0
    script, variables = run.environment("finish")
    process = job.start(script, variables)
    # It is the step's process that GitHub signals. It has become the command when its name is no longer bash.
    wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text().strip() != "bash")
    wait_until(lambda: _handles(process.pid, signal.SIGTERM))
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, (out, err)
    assert run_status(job.bench.store, run.outputs()["run_id"]).state == "cancelled"


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    match = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return bool(int(match[1], 16) & 1 << (number - 1))


def test_a_run_that_is_left_is_reported_by_the_other_action_once(job: Job) -> None:
    run = action(job, wait="false", require="eval_loss <= 1")
    assert run.step("launch").returncode == 0
    assert action(job, wait="false", require="eval_loss <= 1").step("launch").returncode == 0, "a second time"
    run_id = run.outputs()["run_id"]
    wait_until(lambda: run_status(job.bench.store, run_id).terminal)
    collect = action(job, "collect")
    done = collect.step("collect")
    assert done.returncode == 0, done
    assert collect.outputs()["count"] == "1"
    (row,) = json.loads((job.checkout / collect.outputs()["runs"]).read_text())
    assert (row["run_id"], row["passed"], len(row["commit"])) == (run_id, False, 40)
    assert row["url"] == "https://github.com/acme/models/actions/runs/1234"
    assert (job.checkout / row["folder"] / "gate.xml").exists()
    assert "did not pass" in (job.kept / "summary.md").read_text()
    again = action(job, "collect")
    assert again.step("collect").returncode == 0
    assert again.outputs()["count"] == "0"


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
def test_a_pull_request_from_a_fork_launches_nothing(job: Job, event: str) -> None:
    here = {"repo": {"full_name": "acme/models"}, "sha": "b" * 40}
    for head in ({"repo": {"full_name": "mallory/models"}, "sha": "c" * 40}, {"repo": None, "sha": "c" * 40}):
        payload = {"number": 3, "pull_request": {"number": 3, "head": head, "base": here}}
        inputs = {"store": job.bench.store.url, "recipe": "small.yaml"}
        done = Action(job, "", job.github(event, payload), inputs).step("launch")
        assert (done.returncode, "the pull request is from a fork" in done.stderr) == (2, True), done
    assert list_runs(job.bench.store) == []


def test_what_an_input_holds_is_never_run_by_the_shell(job: Job) -> None:
    trap = '$(touch trapped) `touch trapped`; touch trapped "'
    for inputs in ({"args": trap}, {"require": trap}, {"recipe": trap}, {"max_cost": trap}, {"baseline": trap}):
        done = action(job, **inputs).step("launch")
        assert done.returncode == 2 or inputs.keys() == {"baseline"}, done
    assert not (job.checkout / "trapped").exists()


def _script(job: Job, environment: dict[str, str], **options: Any) -> "subprocess.CompletedProcess[str]":
    return job.run(f'exec "{EXAMPLES}/shell/train.sh"', environment, **options)


def test_the_shell_recipe_does_the_same_for_jenkins_and_cron(job: Job) -> None:
    variables = {"RUNNER_STORE": job.bench.store.url, "RUNNER_RECIPE": "small.yaml", "RUNNER_REQUIRE": "eval_loss <= 2"}
    jenkins = {"JENKINS_URL": "http://127.0.0.1:8080/", "BUILD_URL": "http://127.0.0.1:8080/job/x/1/", **variables}
    done = _script(job, jenkins)
    assert (done.returncode, (job.checkout / "runner-report" / "gate.xml").exists()) == (0, True), done
    assert _script(job, variables).returncode == 0
    assert _script(job, {**variables, "RUNNER_REQUIRE": "eval_loss <= 1"}).returncode == 1
    assert _script(job, {**jenkins, "CHANGE_ID": "4", "CHANGE_FORK": "mallory"}).returncode == 2
    done = _script(job, {**variables, "RUNNER_RECIPE": ""})
    assert (done.returncode, "RUNNER_RECIPE" in done.stderr) == (1, True), done
    (status,) = list_runs(job.bench.store)
    assert status.attempts == 1


def test_the_gitlab_template_runs_with_gitlabs_variables(job: Job) -> None:
    template = yaml.safe_load((EXAMPLES / "gitlab" / "runner.gitlab-ci.yml").read_text())[".runner"]
    variables = {
        **template["variables"],
        "GITLAB_CI": "true",
        "CI": "true",
        "CI_PIPELINE_SOURCE": "push",
        "CI_PROJECT_PATH": "acme/models",
        "CI_COMMIT_BEFORE_SHA": "0" * 40,
        "CI_JOB_URL": "https://gitlab.com/acme/models/-/jobs/1",
        "RUNNER_STORE": job.bench.store.url,
        "RUNNER_RECIPE": "small.yaml",
        "RUNNER_REQUIRE": "eval_loss <= 2",
        "RUNNER_ID_TOKEN": "secret",
    }
    # uv stands for the one that the image has; the lines themselves are the template's.
    stand_in = 'uv() { [ "$2" = dir ] && dirname "$(command -v runner)" || true; }\n'
    begin, script, after = ("\n".join(template[name]) for name in ("before_script", "script", "after_script"))
    done = job.run(f"{stand_in}{begin}\n{script}", variables)
    assert done.returncode == 0, done
    assert (job.checkout / ".runner-token").stat().st_mode & 0o077 == 0
    for path in (template["artifacts"]["reports"]["junit"], template["artifacts"]["reports"]["dotenv"]):
        assert (job.checkout / path).exists()
    assert "state=succeeded\n" in (job.checkout / "runner-report" / "outputs.env").read_text()

    fork = {"CI_MERGE_REQUEST_IID": "2", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "9", "CI_MERGE_REQUEST_PROJECT_ID": "1"}
    refused = job.run(f"{stand_in}{begin}\n{script}", {**variables, **fork})
    assert refused.returncode == 2, refused

    launch = script.splitlines()[0]
    job.run(f"{stand_in}{begin}\n{launch}", {**variables, "RUNNER_ARGS": "--set training.seed=7"}, plan={"pace": 5})
    run_id = (job.checkout / ".runner-id").read_text().strip()
    done = job.run(f"{stand_in}{after}", {**variables, "CI_JOB_STATUS": "canceled"})
    assert (done.returncode, run_status(job.bench.store, run_id).state) == (0, "cancelled"), done


def test_every_action_is_pinned_by_a_whole_commit_but_our_own() -> None:
    found = uses([ROOT / "action.yml", ROOT / "collect" / "action.yml", *EXAMPLES.glob("github/*.yml")])
    assert len(found) > 10
    for name in found:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}|OWNER/runner(/collect)?@v0", name), name


def test_no_script_of_a_workflow_holds_an_expression() -> None:
    for path in EXAMPLES.glob("github/*.yml"):
        document = yaml.safe_load(path.read_text())
        assert document["permissions"] == {}, path
        for name, each in document["jobs"].items():
            for step in each["steps"]:
                assert "${{" not in step.get("run", ""), (path, name)
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False, path
