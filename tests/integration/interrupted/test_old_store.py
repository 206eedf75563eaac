"""A store that an older commit began goes on under this one: runs are listed, read, resumed, fetched and measured."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.metrics import read_metrics
from runner.storage.open import open_store
from support.old_store import CHECKPOINT_STEP, FINISHED, KILLED, MAX_STEPS, Home, old_commit_is_available
from support.runs import assert_same, check_metrics, outcome

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not old_commit_is_available(), reason="the older commit is not in this (shallow) clone"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A user whose store holds the older code's runs, untouched by this one."""
    made = Home(tmp_path_factory.mktemp("old"))
    made.make_old_runs()
    return made


@pytest.fixture(scope="module")
def resumed(home: Home) -> Home:
    """The same user's other store, in which this code has resumed the killed run."""
    made = Home(home.folder / "later")
    shutil.copytree(home.store, made.store)
    made.runner("resume", KILLED)
    return made


def test_runs_are_listed(home: Home) -> None:
    rows = {row["run_id"]: row for row in json.loads(home.runner("ps", "--all", "--json"))}
    assert rows.keys() == {FINISHED, KILLED}
    finished, killed = rows[FINISHED], rows[KILLED]
    assert (finished["state"], finished["step"], finished["max_steps"]) == ("succeeded", MAX_STEPS, MAX_STEPS)
    assert (killed["state"], killed["max_steps"], killed["attempts"]) == ("interrupted", MAX_STEPS, 1)
    assert all(row["recipe"] == "old" and row["infra"] == "local" for row in rows.values())
    older = json.loads(home.old_runner("ps", "--all", "--json"))  # today's rows have more fields
    assert [{name: rows[row["run_id"]][name] for name in row} for row in older] == older


def test_metrics_are_read_as_the_older_code_reads_them(home: Home) -> None:
    for run in (FINISHED, KILLED):
        assert home.runner("metrics", run, "--json") == home.old_runner("metrics", run, "--json")
    check_metrics(read_metrics(open_store(str(home.store)), FINISHED), MAX_STEPS)


def test_logs_are_read_as_the_older_code_reads_them(home: Home) -> None:
    for run in (FINISHED, KILLED):
        text = home.runner("logs", run)
        assert "evaluation before training" in text
        assert text == home.old_runner("logs", run)


def test_the_killed_run_has_a_checkpoint_to_go_on_from(home: Home) -> None:
    assert checkpoints(open_store(str(home.store)), KILLED)[0].step == CHECKPOINT_STEP


def test_the_killed_run_ends_bit_for_bit_as_the_older_code_ended_the_undisturbed_one(resumed: Home) -> None:
    store = open_store(str(resumed.store))
    ended, undisturbed = outcome(store, KILLED), outcome(store, FINISHED)
    check_metrics(ended["metrics"], MAX_STEPS)
    assert_same(ended, undisturbed)


def test_the_resumed_run_went_on_from_the_older_code_s_checkpoint(resumed: Home) -> None:
    record = json.loads(open_store(str(resumed.store)).get(f"runs/{KILLED}/attempts/0002.restored.json"))
    assert f"-{CHECKPOINT_STEP:06d}-0001-" in record["checkpoint"]


@pytest.mark.parametrize("run", [FINISHED, KILLED])
def test_results_are_fetched(resumed: Home, run: str) -> None:
    folder = resumed.folder / f"pulled-{run}"
    resumed.runner("pull", run, str(folder))
    result = json.loads((folder / "result.json").read_text())
    assert (result["state"], result["step"]) == ("succeeded", MAX_STEPS)
    assert json.loads((folder / "run.json").read_text())["run_id"] == run
    assert (folder / "artifacts/model/adapter_model.safetensors").is_file()
    assert _steps(folder / "metrics.jsonl") == list(range(1, MAX_STEPS + 1))


def test_the_older_code_s_model_is_measured_again_to_the_same_loss(resumed: Home) -> None:
    measured: dict[str, Any] = json.loads(resumed.runner("eval", FINISHED, "--json"))
    result = json.loads((resumed.store / "runs" / FINISHED / "result.json").read_text())
    for phase in ("before", "after"):
        assert measured[phase]["eval_loss"] == pytest.approx(result[phase]["eval_loss"], rel=1e-5)


def test_the_older_code_s_model_is_exported(resumed: Home) -> None:
    resumed.runner("export", FINISHED, "--merge")
    folder = resumed.folder / "exported"
    resumed.runner("pull", FINISHED, str(folder))
    assert (folder / "artifacts/merged/model.safetensors").is_file()


def test_a_run_that_has_ended_is_refused_and_left_as_it_is(resumed: Home) -> None:
    before = sorted((resumed.store / "runs" / FINISHED).rglob("*"))
    resumed.runner("resume", FINISHED, code=2)
    assert sorted((resumed.store / "runs" / FINISHED).rglob("*")) == before


def _steps(metrics: Path) -> list[int]:
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [record["step"] for record in records if record["kind"] == "train"]
