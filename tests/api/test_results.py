"""What came of runs, as dataclasses and as pandas' data frames; runs that did not succeed are errors if asked for."""

import dataclasses
import subprocess
import sys

import pandas
import pytest

import runner
from support.bench import STAND_IN, Bench
from support.bench import bench as bench
from support.in_process import InProcess
from support.in_process import here as here


def test_a_result_is_a_dataclass_and_the_record(here: InProcess) -> None:
    run = runner.launch("small.yaml")
    assert run.wait(60, check=True).state == "succeeded"
    result = run.result()
    assert isinstance(result, runner.RunResult)
    assert (result.run_id, result.state, result.reason) == (run.run_id, "succeeded", None)
    assert result.artifacts["model"]
    assert result["state"] == "succeeded"
    assert dict(result) == result.record
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.state = "failed"  # type: ignore[misc]
    with pytest.raises(KeyError):
        result["no such field"]


def test_metrics_runs_and_comparisons_are_data_frames(here: InProcess) -> None:
    first = runner.launch("small.yaml", name="first")
    second = runner.launch("small.yaml", name="second", overrides={"training.max_steps": 4})
    for run in (first, second):
        run.wait(60, check=True)
    frame = first.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["step"]) == list(range(1, 11))
    assert frame.equals(first.metrics().to_pandas())
    runs = runner.list_runs()
    assert dict(zip(runs.to_pandas()["run_id"], runs.to_pandas()["step"], strict=True)) == {"first": 10, "second": 10}
    comparison = runner.compare(first, second)
    table = comparison.to_pandas()
    assert list(table["run_id"]) == ["first", "second"]
    assert list(table["training.max_steps"]) == [10, 4]
    assert comparison["settings"]["training.max_steps"] == {"first": 10, "second": 4}


def test_an_empty_list_is_an_empty_data_frame(here: InProcess) -> None:
    assert runner.list_runs() == []
    assert runner.list_sweeps() == []
    assert len(runner.list_runs().to_pandas()) == len(runner.list_sweeps().to_pandas()) == 0


def test_without_pandas_the_error_says_what_to_install(here: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(runner.UserError, match="pandas is not installed") as caught:
        runner.list_runs().to_pandas()
    assert "pip install pandas" in str(caught.value.remedy)


@pytest.mark.parametrize(("plan", "state"), [({"*": ["fail", 2]}, "failed"), ({"1": ["stop", 4]}, "interrupted")])
def test_a_run_that_did_not_succeed_is_an_error_if_that_is_asked_for(
    here: InProcess, plan: dict[str, object], state: str
) -> None:
    here.plan(plan)
    run = runner.launch("small.yaml", name="try")
    assert run.wait(60).state == state
    with pytest.raises(runner.RunFailed) as caught:
        run.wait(60, check=True)
    assert caught.value.status.state == state
    assert caught.value.where == "try"
    assert caught.value.what.startswith(state)
    assert 'runner.resume("try")' in str(caught.value.remedy)
    assert isinstance(caught.value, runner.UserError)


def test_progress_is_lines_outside_of_a_notebook(bench: Bench) -> None:
    """On standard error; the status that `follow` returns is the one that `wait` would."""
    bench.recipe()
    program = "import runner; run = runner.launch('small.yaml', name='try'); print(run.follow(check=True).state)"
    command = f"from runner.backends.local import backend; backend.ENTRYPOINT = {STAND_IN!r}; {program}"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=bench.folder, env=bench.environment, capture_output=True, text=True
    )
    assert done.stdout == "succeeded\n", done.stderr
    assert done.stderr.splitlines()[-1].startswith("try succeeded: step 10/10")
