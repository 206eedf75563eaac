"""Parameters as they are written: distributions by their keys, nested ones, and what W&B refuses."""

import math
from typing import Any

import pytest

from runner.sweeps.space.parameters import read_parameters
from support.sweeping.files import SweepFiles


@pytest.mark.parametrize(
    ("config", "distribution"),
    [
        ({"value": 1}, "constant"),
        ({"values": [1]}, "categorical"),
        ({"values": [1], "probabilities": [1]}, "categorical_w_probabilities"),
        ({"min": 0, "max": 1}, "int_uniform"),
        ({"min": 0.0, "max": 1}, "uniform"),
        ({"min": 0, "max": 1.5}, "uniform"),
        ({"min": 0, "max": 1, "distribution": "uniform"}, "uniform"),
        ({"distribution": "normal"}, "normal"),
    ],
)
def test_keys_choose_the_distribution(config: dict[str, Any], distribution: str) -> None:
    read = read_parameters({"a": config})
    assert not read.problems
    assert [one.distribution.name for one in read.parameters] == [distribution]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (1e-4, "write `{value: 0.0001}` for a constant"),
        ([1, 2], "write `{values: [1, 2]}`"),
        ({}, "there is nothing to draw from"),
        ({"min": 1}, "write `max` too"),
        ({"min": 1, "max": 2, "q": 1}, "write `distribution: q_uniform`"),
        ({"mu": 1}, "write `distribution: normal`"),
        ({"a": 1, "b": 1}, "write `distribution: beta`"),
        ({"min": 1, "max": 2, "values": [1]}, "keep what belongs to one of them"),
        ({"distribution": "loguniform_values", "min": 1, "max": 2}, "did you mean `log_uniform_values`?"),
        ({"distribution": None, "min": 1, "max": 2}, "there is no distribution null"),
        ({"distribution": "categorical", "values": [1], "probabilities": [1]}, "categorical_w_probabilities"),
        ({"distribution": "uniform", "min": 1, "max": 2, "q": 1}, "write `distribution: q_uniform`"),
        ({"distribution": "uniform", "min": 1}, "`uniform` needs `max`"),
        ({"distribution": "int_uniform", "min": 1, "max": 2.5}, "2.5 is not one"),
        ({"distribution": "int_uniform", "min": 1.0, "max": 2}, "write 1"),
        ({"min": "1e-4", "max": 1}, "write 1e-4, without quotes"),
        ({"min": True, "max": 2}, "a number expected, not true"),
        ({"min": 2, "max": 2}, "write `{value: 2}`"),
        ({"min": 2, "max": 1}, "exchange them"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "write a minimum above 0"),
        ({"distribution": "log_uniform_values", "min": -5, "max": -1}, "`log_uniform` takes exponents"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "0 is not above 0"),
        ({"distribution": "normal", "sigma": 0}, "or a constant"),
        ({"values": []}, "write at least one"),
        ({"values": 3}, "write a list: [3]"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "their sum is 1.1"),
        ({"values": [1, 2], "probabilities": [1]}, "there are 1 for 2 values"),
        ({"values": [1, 2], "probabilities": [2, -1]}, "numbers of at least 0"),
        ({"valeus": [1]}, "did you mean `values`?"),
        ({"inner": {"value": 1}}, "write nested parameters under `parameters:`"),
        ({"parameters": {"x": {"value": 1}}, "value": 2}, "nested parameters have nothing beside them"),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, "no range of numbers"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_parameter_is_refused(config: Any, said: str) -> None:
    [problem] = read_parameters({"a": config}).problems
    assert said in f"{problem.what}\n{problem.remedy}"


@pytest.mark.parametrize("name", ["9a", "a b", "", "é", "$x"])
def test_names_are_wandbs(name: str) -> None:
    assert "cannot name a parameter" in read_parameters({name: {"value": 1}}).problems[0].what


@pytest.mark.parametrize("kind", ["log_uniform", "inv_log_uniform", "q_log_uniform"])
def test_exponents_are_converted_and_said(kind: str) -> None:
    low, high = math.log(1e-5), math.log(1e-1)
    if kind == "inv_log_uniform":  # those of 1 / value
        low, high = -high, -low
    read = read_parameters({"rate": {"distribution": kind, "min": low, "max": high}})
    [parameter] = read.parameters
    assert parameter.distribution.name == f"{kind}_values"
    assert parameter.distribution.settings["min"] == pytest.approx(1e-5)
    assert parameter.distribution.settings["max"] == pytest.approx(1e-1)
    [note] = read.notes
    assert "exponents of e" in note
    assert "W&B refuses it since sweeps 0.3" in note
    assert f"read as `{kind}_values` from 1e-05 to 0.1" in note


def test_exponents_that_look_like_values_are_asked_about() -> None:
    [note] = read_parameters({"rate": {"distribution": "log_uniform", "min": 1e-5, "max": 0.1}}).notes
    assert "from 1.00001 to 1.10517; write `log_uniform_values` if 1e-05 and 0.1 are meant as the ends" in note


def test_nested_parameters_have_dotted_names(files: SweepFiles) -> None:
    inner = {"learning_rate": {"values": [0.1]}, "weight_decay": {"value": 0}}
    sweep = files.drawing({"training": {"parameters": inner}, "adapter": {"parameters": {"r": {"values": [4, 8]}}}})
    assert [one.path for one in sweep.space.parameters] == [
        "adapter.r",
        "training.learning_rate",
        "training.weight_decay",
    ]


def test_one_name_flat_and_nested_is_refused() -> None:
    read = read_parameters({"a": {"parameters": {"b": {"value": 1}}}, "a.b": {"value": 2}})
    assert [problem.what for problem in read.problems] == ["`a.b` is written twice, flat and nested"]
