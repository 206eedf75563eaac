"""A worker's hour costs its share of the machine that it found."""

import json

import pytest

from runner.sweeps.workers.prices import price_of_worker

PRICES = {"L4": 0.9, "aws/L4": 0.4, "gcp/L4": 0.6, "A100": 3.0, "gcp/A100": 2.0, "A100-80GB": 2.5}
AWS = {"SKYPILOT_CLUSTER_INFO": json.dumps({"cloud": "AWS", "region": "us-east-1"})}


@pytest.mark.parametrize(
    ("accelerator", "environ", "price"),
    [
        ("NVIDIA L4", {}, 0.9),
        ("NVIDIA L4", AWS, 0.4),
        ("NVIDIA A100-SXM4-40GB", {}, 3.0),
        ("NVIDIA A100-SXM4-80GB", {}, 2.5),
        ("NVIDIA L4", {"SKYPILOT_CLUSTER_INFO": json.dumps({"cloud": "Lambda"})}, 0.9),
        (None, {}, 3.0),
        ("Tesla T4", AWS, 0.4),
        ("NVIDIA L4", {**AWS, "RUNNER_SLOTS": "4"}, 0.1),
        ("NVIDIA L4", {"SKYPILOT_CLUSTER_INFO": "odd", "RUNNER_SLOTS": "odd"}, 0.9),
    ],
)
def test_the_price_is_that_of_the_gpu_and_the_cloud_that_it_found(
    accelerator: str | None, environ: dict[str, str], price: float
) -> None:
    assert price_of_worker(PRICES, accelerator, environ) == pytest.approx(price)


def test_a_machine_of_ones_own_costs_nothing() -> None:
    assert price_of_worker({}, "NVIDIA L4", AWS) == 0.0
