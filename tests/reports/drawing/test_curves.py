"""What is drawn of a run's records."""

from typing import Any

from runner.reports.drawing.curves import draw_metrics, draw_system, known_metrics, metric_points
from runner.reports.drawing.plot import as_text


def step(number: int, stage: str = "sft", **values: Any) -> dict[str, Any]:
    return {"kind": "train", "stage": stage, "step": number, **values}


def measured(number: int, stage: str = "sft", **values: Any) -> dict[str, Any]:
    return {"kind": "eval", "phase": "during", "stage": stage, "step": number, **values}


RECORDS = [
    step(1, loss=3.0, learning_rate=0.1),
    step(2, loss=2.5, learning_rate=0.1),
    measured(2, loss=9.0, eval_loss=2.6),
    step(3, loss=None, not_finite={"loss": "NaN"}),
]


def text(runs: dict[str, list[dict[str, Any]]], *names: str) -> str:
    return as_text(draw_metrics(runs, names, width=60, height=12, plain=True, colors=False))


def test_the_training_loss_is_not_that_of_evaluations() -> None:
    assert metric_points(RECORDS, "loss") == [(1, 3.0), (2, 2.5), (3, None)]
    assert metric_points(RECORDS, "eval_loss") == [(2, 2.6)]


def test_a_stage_goes_on_where_the_one_before_ended() -> None:
    records = [*RECORDS, step(1, "dpo", loss=0.7), step(2, "dpo", loss=0.6)]
    assert metric_points(records, "loss")[-2:] == [(4, 0.7), (5, 0.6)]


def test_numbers_are_metrics_and_places_are_not() -> None:
    assert known_metrics(RECORDS) == ["loss", "learning_rate", "eval_loss"]


def test_training_and_evaluation_share_a_frame() -> None:
    lines = text({"run": RECORDS}).split("\n")
    assert lines[0] == "loss and eval_loss"
    assert lines[-1].split() == ["a", "loss", "B", "eval_loss"]


def test_what_is_asked_for_has_a_frame_each() -> None:
    lines = text({"run": RECORDS}, "learning_rate", "eval_loss").split("\n")
    assert [line for line in lines if line in ("learning_rate", "eval_loss")] == ["learning_rate", "eval_loss"]


def test_runs_are_drawn_together() -> None:
    *_, legend = text({"one": RECORDS, "two": RECORDS}, "learning_rate").split("\n")
    assert legend.split() == ["a", "one", "learning_rate", "b", "two", "learning_rate"]


def sample(time: float, **values: Any) -> dict[str, Any]:
    return {"time": time, "node": 0, "cpu_percent": 50.0, "memory_gib": 4.0, "memory_percent": 20.0, **values}


def test_of_a_machine_with_gpus_the_gpus_are_drawn() -> None:
    gpus = [{"index": index, "utilization_percent": 90.0, "memory_gib": 30.0} for index in (0, 1)]
    records = [sample(100.0, gpus=gpus), sample(160.0, gpus=gpus)]
    drawn = as_text(draw_system({"run": records}, width=60, height=20, plain=True, colors=False))
    assert "GPU utilization, %" in drawn
    assert "GPU memory, GiB" in drawn
    assert "CPU" not in drawn
    assert "a GPU 0   b GPU 1" in drawn
    assert "after 1m 0s" in drawn


def test_of_another_machine_its_processor_is_drawn() -> None:
    drawn = as_text(draw_system({"run": [sample(0.0), sample(5.0)]}, width=60, height=20, plain=True, colors=False))
    assert "CPU, %" in drawn
    assert "GPU" not in drawn
