"""`runner gate` on runs, files and git."""

import json
import subprocess
from xml.etree import ElementTree

import pytest

from runner.runs.listing import list_runs
from support.bench import Bench


@pytest.fixture
def run(bench: Bench) -> str:
    """A finished run of the stand-in: an evaluation loss of 4 before and 2 after."""
    bench.recipe()
    assert bench.runner("launch", "small.yaml").returncode == 0
    return list_runs(bench.store)[0].run_id


def test_a_gate_decides_by_the_results_of_a_run(bench: Bench, run: str) -> None:
    passing = ["--require", "after.eval_loss <= 0.5 * before.eval_loss", "--require", "eval_loss < 2.5 and step == 10"]
    done = bench.runner("gate", run, *passing)
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == [
        "pass  state == 'succeeded'  ('succeeded' == 'succeeded')",
        "pass  after.eval_loss <= 0.5 * before.eval_loss  (2 <= 2)",
        "pass  eval_loss < 2.5 and step == 10  (2 < 2.5; 10 == 10)",
    ]
    done = bench.runner(
        "gate",
        run,
        *passing,
        "--require",
        "perplexity < 7",
        "--junit",
        "out/gate.xml",
        "--out",
        "out/gate.json",
        "--json",
    )
    assert done.returncode == 1, done
    document = json.loads(done.stdout)
    assert json.loads((bench.folder / "out/gate.json").read_text()) == document
    assert document["passed"] is False
    assert document["requirements"][-1] == {"requirement": "perplexity < 7", "passed": False, "detail": "7.39 < 7"}
    assert document["values"]["before.eval_loss"] == 4.0
    suites = ElementTree.parse(bench.folder / "out/gate.xml").getroot()
    (suite,) = suites
    assert (suites.tag, suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuites", "testsuite", "4", "1")
    failures = [case.find("failure") for case in suite]
    assert [failure is None for failure in failures] == [True, True, True, False]
    assert failures[3] is not None
    assert failures[3].get("message") == "7.39 < 7"

    # What it printed is a baseline, in a file and in git.
    (bench.folder / "base.json").write_text(done.stdout)
    require = ["--require", "eval_loss <= 1.02 * baseline.eval_loss"]
    assert "(2 <= 2.04)" in bench.runner("gate", run, *require, "--baseline", "base.json").stdout
    assert "(2 <= 2.04)" in bench.runner("gate", run, *require, "--baseline", run).stdout
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    commands = (["init", "-q"], ["add", "-f", "base.json"], ["commit", "-qm", "x"], ["tag", "v1"])
    for command in commands:
        subprocess.run([*git, *command], cwd=bench.folder, check=True)
    (bench.folder / "base.json").write_text('{"eval_loss": 1.0}')
    assert "(2 <= 2.04)" in bench.runner("gate", run, *require, "--baseline", "v1:base.json").stdout
    worse = bench.runner("gate", run, *require, "--baseline", "base.json")
    assert (worse.returncode, "FAIL" in worse.stdout, "(2 <= 1.02)" in worse.stdout) == (1, True, True)


def test_a_baseline_is_the_newest_run_of_a_tag_or_branch_that_succeeded(bench: Bench) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.invalid"]

    def commit(*before: str) -> None:
        for command in (list(before), ["add", "*.yaml"], ["commit", "-qm", "x", "--allow-empty"]):
            if command:
                subprocess.run([*git, *command], cwd=bench.folder, check=True)

    def launched(name: str, **plan: list[object]) -> str:
        bench.runner("launch", "small.yaml", "--name", name, plan=plan)
        return name

    bench.recipe()
    commit("init", "-q", "-b", "trunk")
    first = launched("first")
    subprocess.run(["git", "tag", "v1"], cwd=bench.folder, check=True)
    commit()
    second, failed = launched("second"), launched("failed", **{"*": ["fail", 3]})
    commit("checkout", "-qb", "change")
    mine = launched("mine")

    def baseline(text: str, run: str = mine) -> "subprocess.CompletedProcess[str]":
        return bench.runner("gate", run, "--require", "eval_loss <= baseline.eval_loss", "--baseline", text, "--json")

    def compared(text: str, run: str = mine) -> object:
        done = baseline(text, run)
        assert done.returncode == 0, done
        return json.loads(done.stdout)["baseline"]

    assert compared("trunk") == second
    assert compared("v1") == first
    assert compared("trunk", second) == first
    assert compared("change") == second, "the run itself is no baseline"
    bench.runner("tag", first, "released")
    assert compared("released") == first
    for text, words in (
        (failed, "has not succeeded: it is failed"),
        ("elsewhere", "neither a file nor a run, nor a tag or branch"),
    ):
        done = baseline(text)
        assert (done.returncode, done.stdout, words in done.stderr) == (2, "", True), done
    done = baseline("v1", first)
    assert (done.returncode, "no other run of small that succeeded" in done.stderr) == (2, True), done


def test_what_is_missing_never_passes(bench: Bench, run: str) -> None:
    (bench.folder / "base.json").write_text('{"eval_loss": NaN, "after": {"loss": null}}')
    requirements = ["not eval_los > 3", "eval_loss < 3 or nothing < 1", "eval_loss != baseline.eval_loss"]
    requirements += ["not loss == baseline.loss", "eval_loss / 0 != 1"]
    arguments = [text for each in requirements for text in ("--require", each)]
    done = bench.runner("gate", run, *arguments, "--baseline", "base.json")
    assert done.returncode == 1, done
    lines = done.stdout.splitlines()[1:]
    assert all(line.startswith("FAIL") for line in lines), lines
    assert "`eval_los` is missing; did you mean `eval_loss`? There are: " in lines[0]
    assert "`nothing` is missing" in lines[1]
    assert "`baseline.eval_loss` is not a number" in lines[2]
    assert "divides by zero" in lines[4]
    unlike = bench.runner("gate", run, "--require", "baseline.eval_loss < 1", "--baseline", "base.json")
    assert "is not a number" in unlike.stdout
    (bench.folder / "base.json").write_text('{"attempts": 1}')
    unlike = bench.runner("gate", run, "--require", "baseline.eval_loss < 1", "--baseline", "base.json")
    assert "`baseline.eval_loss` is missing. There are: baseline.attempts)" in unlike.stdout


def test_a_mistake_exits_with_2(bench: Bench, run: str) -> None:
    for arguments, words in (
        (["--require", "eval_loss <= "], "at character"),
        (["--require", "loss < baseline.loss"], "needs a baseline"),
        (["--require", "loss < 1", "--baseline", "nowhere"], "neither a file nor a run"),
        (["--require", "loss < 1", "--baseline", "v9:x.json"], "git has no file `x.json` at `v9`"),
        (["--require", "loss < 1", "--baseline", "small.yaml"], "not JSON"),
        (["--require", "state < 1"], "text and a number"),
    ):
        done = bench.runner("gate", run, *arguments)
        assert (done.returncode, done.stdout, words in done.stderr) == (2, "", True), done


def test_a_run_that_has_not_ended_is_75_and_one_that_failed_does_not_pass(bench: Bench) -> None:
    waiting = bench.submit("waiting")
    done = bench.runner("gate", waiting, "--require", "1 < 2")
    assert (done.returncode, done.stdout) == (75, "")
    assert bench.runner("gate", waiting, "--require", "1 < 2", "--wait", "0.1").returncode == 75
    bench.recipe()
    bench.runner("launch", "small.yaml", plan={"*": ["fail", 3]})
    failed = list_runs(bench.store)[0].run_id
    done = bench.runner("gate", failed, "--require", "1 < 2")
    assert done.returncode == 1, done
    assert "FAIL  state == 'succeeded'  ('failed' == 'succeeded')" in done.stdout
    assert bench.runner("gate", failed, "--require", "state == 'failed'").returncode == 0
