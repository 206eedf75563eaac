"""A run's metrics as a table and as CSV."""

import io
from typing import Any

from runner.reports.metrics import MetricsLines, metrics_table, write_csv

RECORDS: list[dict[str, Any]] = [
    {"kind": "train", "stage": "sft", "step": 1, "loss": 2.5, "grad_norm": 1.0},
    {
        "kind": "train",
        "stage": "sft",
        "step": 2,
        "loss": None,
        "grad_norm": None,
        "not_finite": {"loss": "NaN", "grad_norm": "Infinity"},
    },
]


def test_a_loss_that_is_not_a_number_is_shown_as_such() -> None:
    assert metrics_table(RECORDS).splitlines()[2].split() == ["2", "NaN", "Infinity"]
    assert MetricsLines({}).line(RECORDS[1]).split() == ["2", "NaN", "Infinity"]


def test_csv_has_it_in_its_own_column() -> None:
    file = io.StringIO()
    write_csv(RECORDS, file)
    assert file.getvalue().splitlines() == [
        "kind,stage,step,loss,grad_norm",
        "train,sft,1,2.5,1.0",
        "train,sft,2,NaN,Infinity",
    ]


def test_the_methods_own_figures_have_columns_too() -> None:
    rewarded = [{"kind": "train", "stage": "grpo", "step": 1, "loss": 0.0, "reward": 0.5}]
    assert metrics_table(rewarded).splitlines()[0].split() == ["STEP", "LOSS", "REWARD"]
    preferred = [{"kind": "train", "stage": "dpo", "step": 1, "loss": 0.7, "rewards/accuracies": 1.0}]
    assert metrics_table(preferred).splitlines()[0].split() == ["STEP", "LOSS", "REWARD", "ACCURACY"]
    assert "REWARD" in MetricsLines({"method": "grpo"}).header()
    assert "REWARD" not in MetricsLines({"method": "sft"}).header()
