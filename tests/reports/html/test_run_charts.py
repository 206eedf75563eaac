"""The plots of a single run."""

from typing import Any

from runner.reports.html.run_charts import interruptions, lengths, run_charts
from runner.runs.layout import CheckpointName
from support.reported import attempt, details

TAKEN = {"outcome": "interrupted", "reason": "the spot machine was taken away"}
ATTEMPTS = [
    attempt(1),
    attempt(2, ended=TAKEN),
    attempt(3, restored=CheckpointName("dpo", 4, "0002-aaaa"), ended={"outcome": "succeeded"}),
]


def test_metrics_run_over_all_stages_and_interruptions_stand_at_the_steps_of_the_run() -> None:
    records = [
        {"kind": "train", "stage": stage, "step": step, "loss": 1.0, "learning_rate": 1e-3, "grad_norm": 0.5}
        for stage in ("sft", "dpo")
        for step in range(1, 11)
    ]
    charts = {chart.name: chart for chart in run_charts(details(records=records, attempts=ATTEMPTS))}
    assert list(charts) == ["loss", "learning_rate", "grad_norm"]
    assert [step for step, _ in charts["loss"].curves["first"]] == list(range(1, 21))
    assert [(rule.at, rule.text) for rule in charts["grad_norm"].rules] == [
        (0, "Attempt 2 went on from the beginning: attempt 1 was killed."),
        (14, "Attempt 3 went on from step 14: attempt 2 interrupted (the spot machine was taken away)."),
    ]
    assert interruptions(ATTEMPTS[:1], records) == []


def test_the_lengths_of_the_examples_are_drawn_and_said_for_each_stage() -> None:
    record: Any = {"examples": 4, "tokens": 1231, "least": 3, "median": 8, "greatest": 1200, "width": 600}
    record["counts"] = [3, 0, 1]
    ((name, (shown, drawn)),) = lengths(details(lengths={"sft": record}))
    assert name == "lengths_sft"
    assert "4 examples of 3 to 1,200 tokens, half of them of 8 or fewer; 1,231 tokens in all" in shown
    assert "1,200 to 1,799" in shown
    assert drawn["data"]["values"][0] == {"from": 0, "to": 600, "examples": 3}
    titles = [shown for _, (shown, _) in lengths(details(lengths={"sft": record, "dpo": record}))]
    assert "of the stage dpo" in titles[1]


def test_what_gpus_did_is_drawn_for_each_of_them_else_what_the_machine_did() -> None:
    gpus = [{"index": 0, "utilization_percent": 90.0, "memory_gib": 10.0}, {"index": 1, "utilization_percent": 80.0}]
    machine: dict[str, Any] = {"node": 0, "cpu_percent": 50.0, "memory_gib": 3.0, "memory_percent": 10.0}
    samples = [{"time": 1000.0 + 60 * minute, **machine} for minute in range(3)]
    charts = {chart.name: chart for chart in run_charts(details(system=samples))}
    assert charts["system_cpu_percent"].curves == {"machine": [(0.0, 50.0), (1.0, 50.0), (2.0, 50.0)]}
    charts = {chart.name: chart for chart in run_charts(details(system=[{**one, "gpus": gpus} for one in samples]))}
    assert set(charts) == {"system_utilization_percent", "system_memory_gib"}
    assert set(charts["system_utilization_percent"].curves) == {"GPU 0", "GPU 1"}
    assert set(charts["system_memory_gib"].curves) == {"GPU 0"}
    assert charts["system_memory_gib"].x == "minutes since the first sample"
