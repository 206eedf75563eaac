"""What names stand for."""

import json
import math

from runner.control.results.gating.values import document_values, run_values
from runner.runs.status import run_status
from support.bench import Bench, bench

__all__ = ["bench"]

RESULT = {
    "state": "succeeded",
    "reason": None,
    "created_at": "2026-01-01T00:00:00+00:00",
    "ended_at": "2026-01-01T01:00:01+00:00",
    "before": {"eval_loss": 4.0, "exact_match": None},
    "after": {"eval_loss": 2.0, "exact_match": 0.5},
    "best": {"step": 3, "metric": "eval_loss", "value": 1.9},
    "artifacts": {"model": "artifacts/model/"},
    "hardware": {"per_device_train_batch_size": 4},
}


def test_a_result_has_its_figures_by_name() -> None:
    values = document_values(RESULT)
    assert math.isnan(float(values.pop("before.exact_match")))
    assert values == {
        "state": "succeeded",
        "before.eval_loss": 4.0,
        "after.eval_loss": 2.0,
        "eval_loss": 2.0,
        "after.exact_match": 0.5,
        "exact_match": 0.5,
        "best.step": 3.0,
        "best.value": 1.9,
        "duration_seconds": 3601.0,
    }


def test_a_mapping_of_numbers_is_taken_as_it_is() -> None:
    assert document_values({"eval/loss": 1, "ok": True, "big": 10**400}) == {"eval_loss": 1.0, "big": math.inf}
    assert document_values({"run_id": "a", "values": {"eval_loss": 1.5}}) == {"eval_loss": 1.5}


def test_a_metric_is_its_last_value_and_what_was_measured_after_goes_before_it(bench: Bench) -> None:
    bench.recipe()
    assert bench.runner("launch", "small.yaml").returncode == 0
    (run_id,) = bench.store.folders("runs/")
    values = run_values(bench.store, run_status(bench.store, run_id))
    assert (values["eval_loss"], values["step"], values["state"]) == (2.0, 10.0, "succeeded")
    records = json.loads(bench.runner("metrics", run_id, "--json").stdout)
    assert values["loss"] == [record["loss"] for record in records if "loss" in record][-1]
