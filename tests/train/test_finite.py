"""Weights that are infinite or not a number."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runner.train.finite import not_finite, not_finite_in_files, trained_weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_one_bad_value_is_found_and_large_ones_are_not_bad(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    weights = {name: torch.full((40, 30), largest, dtype=dtype) for name in ("good", "nan", "inf", "minus")}
    for name, value in (("nan", math.nan), ("inf", math.inf), ("minus", -math.inf)):
        weights[name][17, 3] = value
    weights["empty"] = torch.empty(0, dtype=dtype)
    weights["quantized"] = torch.full((4,), 255, dtype=torch.uint8)
    assert not_finite(weights.items()) == ["nan", "inf", "minus"]


def test_only_what_is_trained_is_looked_at() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[0].weight.data[0, 0] = math.nan
    assert not_finite(trained_weights(model)) == ["0.weight"]
    model[0].requires_grad_(False)
    assert not_finite(trained_weights(model)) == []


def test_files_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "model-1.safetensors")
    assert not_finite_in_files(tmp_path) == []
    save_file({"b": torch.tensor([math.inf])}, tmp_path / "model-2.safetensors")
    assert not_finite_in_files(tmp_path) == ["b"]
