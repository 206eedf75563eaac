"""System records, made fewer."""

from typing import Any

from runner.runs.measured.system import mean_of, thin
from runner.runs.record_types.measured import SystemRecord


def sample(at: float, *, node: int = 0, cpu: float = 50.0, **more: Any) -> SystemRecord:
    record: Any = {"time": at, "node": node, "cpu_percent": cpu, "memory_gib": 4.0, "memory_percent": 25.0, **more}
    return record  # type: ignore[no-any-return]


def test_a_mean_counts_each_record_by_its_samples() -> None:
    mean = mean_of([sample(0, cpu=10, samples=3), sample(8, cpu=50)])
    assert (mean["cpu_percent"], mean["time"], mean["samples"]) == (20.0, 2.0, 4)


def test_of_a_counter_the_last_value_counts() -> None:
    assert mean_of([sample(0, network_sent_gib=1.0), sample(1, network_sent_gib=3.0)])["network_sent_gib"] == 3.0


def test_a_gpu_is_the_mean_of_the_samples_that_have_it() -> None:
    one = {"index": 1, "utilization_percent": 10.0, "power_watts": 100.0}
    other = {"index": 1, "utilization_percent": 30.0}
    mean = mean_of([sample(0), sample(1, gpus=[one]), sample(2, gpus=[other])])
    assert mean["gpus"] == [{"index": 1, "utilization_percent": 20.0, "power_watts": 100.0}]


def test_thinned_records_keep_their_machine_and_their_weight() -> None:
    records = [sample(time, node=node, cpu=100.0 * node) for time in range(1000) for node in (0, 1)]
    thinned = thin(records, most=100)
    assert len(thinned) == 100
    assert {(record["node"], record["cpu_percent"]) for record in thinned} == {(0, 0.0), (1, 100.0)}
    assert sum(record["samples"] for record in thinned) == 2000
    assert thin(records, most=2000) == records
