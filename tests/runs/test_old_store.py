"""Records that an older commit wrote (`tests/runs/old_store`, made by `support.old_store`) are read as it read them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from runner.control.results.pull import pull
from runner.errors import UserError
from runner.runs.checkpoints.lineage import checkpoints, read_lineage
from runner.runs.launches import newest_launch
from runner.runs.listing import list_runs
from runner.runs.logs import read_log
from runner.runs.metrics import read_metrics
from runner.runs.records import run_document
from runner.runs.status import RunStatus, run_status
from runner.storage.open import open_store
from runner.storage.store import Store

RECORDS = Path(__file__).with_name("old_store")
LOSSES = {
    1: 7.661547660827637,
    2: 7.65845251083374,
    3: 7.6525044441223145,
    4: 7.611423015594482,
    5: 7.635176181793213,
    6: 7.662153720855713,
    7: 7.553861618041992,
    8: 7.622713088989258,
    9: 7.577676296234131,
    10: 7.616800785064697,
    11: 7.603771686553955,
    12: 7.594804763793945,
}
EVAL_LOSSES = [
    ("before", 0, 7.639618873596191),
    ("during", 4, 7.618539810180664),
    ("during", 8, 7.59672737121582),
    ("during", 12, 7.585581302642822),
    ("after", 12, 7.585581302642822),
]
LAST_STEPS = {"finished": 12, "killed": 7, "resumed": 12, "remote": 0}
"""The steps of which there are metrics. The killed run had taken one more than its last checkpoint holds."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The records as a store whose machine has been silent for long, and a cache of our own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(RECORDS, tmp_path / "store")
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (1.7e9, 1.7e9))
    return open_store(str(tmp_path / "store"))


def test_runs_are_listed_newest_first(store: Store) -> None:
    for _ in range(2):  # the second time, runs that have ended come out of this machine's cache
        rows = [(status.run_id, status.state) for status in list_runs(store)]
        states = {"resumed": "succeeded", "killed": "interrupted", "finished": "succeeded", "remote": "interrupted"}
        assert rows == list(states.items())


def test_a_run_that_finished(store: Store) -> None:
    status = run_status(store, "finished")
    assert _where(status) == ("succeeded", 12, 12, 1)
    assert (status.recipe, status.infra, status.retry) == ("old", "local", False)
    assert (status.created_at, status.ended_at) == ("2026-11-27T12:26:41+00:00", "2026-11-27T12:27:36+00:00")


def test_a_run_whose_machine_went_away(store: Store) -> None:
    status = run_status(store, "killed")
    assert _where(status) == ("interrupted", 6, 12, 1)
    assert (status.checkpoint_step, status.ended_at, status.retry, status.here) == (6, None, True, False)


def test_a_run_that_was_resumed(store: Store) -> None:
    assert _where(run_status(store, "resumed")) == ("succeeded", 12, 12, 2)


def test_a_run_that_skypilot_gave_up(store: Store) -> None:
    status = run_status(store, "remote")
    assert _where(status) == ("interrupted", None, 12, 0)
    assert (status.infra, status.accelerators, status.retry) == ("aws", {"A100": 2}, False)
    assert status.reason == "SkyPilot: FAILED_NO_RESOURCE: no machine was to be had"
    launch = newest_launch(store, "remote")
    assert launch is not None
    assert launch.handle == {"name": "remote-2", "job_id": 42, "cluster": None}


@pytest.mark.parametrize(("run", "last"), LAST_STEPS.items())
def test_metrics_are_one_curve_however_many_attempts(store: Store, run: str, last: int) -> None:
    records = read_metrics(store, run)
    trained = [(record["step"], record["loss"]) for record in records if record["kind"] == "train"]
    assert trained == [(step, loss) for step, loss in LOSSES.items() if step <= last]
    evaluated = [
        (record["phase"], record["step"], record["eval_loss"]) for record in records if record["kind"] == "eval"
    ]
    assert evaluated == [measured for measured in EVAL_LOSSES if measured[1] <= last and last]


def test_step_7_of_the_resumed_run_is_the_second_attempts(store: Store) -> None:
    [seventh] = [record for record in read_metrics(store, "resumed") if record["step"] == 7]
    first = json.loads((RECORDS / "runs/resumed/metrics/0001-uret-000005.jsonl").read_text())
    assert (first["step"], first["loss"]) == (7, seventh["loss"])
    assert seventh["time"] > first["time"]


def test_logs_are_read_in_the_order_of_attempts(store: Store) -> None:
    text, _ = read_log(store, "resumed")
    lines = [line for line in text.splitlines() if line.startswith(("attempt", "evaluation"))]
    assert lines == [
        "evaluation before training: eval_loss 7.64",
        "evaluation at step 4: eval_loss 7.619",
        "attempt 2 continues from step 6",
        "evaluation at step 8: eval_loss 7.597",
        "evaluation at step 12: eval_loss 7.586",
        "evaluation after training: eval_loss 7.586",
    ]


@pytest.mark.parametrize(
    ("run", "tokens", "saved"),
    [
        ("finished", ["0001-ycb1"], ["sft-000012-0001-ycb1", "sft-000009-0001-ycb1"]),
        ("killed", ["0001-ddno"], ["sft-000006-0001-ddno", "sft-000003-0001-ddno"]),
        ("resumed", ["0001-uret", "0002-1k8o"], ["sft-000012-0002-1k8o", "sft-000009-0002-1k8o"]),
        ("remote", [], []),
    ],
)
def test_checkpoints_and_attempts_are_on_the_lineage(
    store: Store, run: str, tokens: list[str], saved: list[str]
) -> None:
    lineage = read_lineage(store, run)
    assert list(lineage.tokens) == tokens
    assert [str(name) for name in checkpoints(store, run, lineage)] == saved


def test_the_step_after_the_restored_checkpoint_counts_once(store: Store) -> None:
    lineage = read_lineage(store, "resumed")
    assert [lineage.holds("0001-uret", "sft", step) for step in (6, 7)] == [True, False]
    assert [lineage.holds("0002-1k8o", "sft", step) for step in (7, 12)] == [True, True]


def test_the_records_of_a_run_that_goes_on_are_pulled(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "pulled"
    pull(store, "killed", folder, say=lambda sentence: None)
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "run.json"]
    assert json.loads((folder / "run.json").read_text()) == json.loads((RECORDS / "runs/killed/run.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == read_metrics(store, "killed")


def test_the_records_of_a_finished_run_are_pulled_before_its_model(store: Store, tmp_path: Path) -> None:
    """Only the model's manifest is among the records, not its files."""
    folder = tmp_path / "pulled"
    with pytest.raises(UserError, match=r"artifacts/model/0001-ycb1/.*missing"):
        pull(store, "finished", folder, say=lambda sentence: None)
    result = json.loads((folder / "result.json").read_text())
    assert result == json.loads((RECORDS / "runs/finished/result.json").read_text())
    assert (result["before"]["eval_loss"], result["after"]["eval_loss"]) == (7.639618873596191, 7.585581302642822)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == len(LOSSES) + len(EVAL_LOSSES)


def test_settings_and_their_sources_are_read(store: Store) -> None:
    document = json.loads(json.dumps(run_document(store, "finished")))
    assert document["settings"]["training.learning_rate"] == {"value": 0.002, "source": "recipe"}
    assert document["recipe"]["checkpoint"] == {"save_steps": 3, "save_minutes": 5.0, "save_total_limit": 2}


def _where(status: RunStatus) -> tuple[str, int | None, int | None, int]:
    return status.state, status.step, status.max_steps, status.attempts
