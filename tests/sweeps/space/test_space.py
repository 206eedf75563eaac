"""A space: from quantiles to values to settings, its grid, and JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.sweeps.space.distributions import Distribution
from runner.sweeps.space.parameters import read_parameters
from runner.sweeps.space.space import Parameter, Space
from support.sweeping.files import SweepFiles


def space_of(tree: dict[str, Any]) -> Space:
    """A space whose parameters are settings of the same names."""
    read = read_parameters(tree)
    assert not read.problems
    return Space(tuple(Parameter(one.name, one.name, one.distribution) for one in read.parameters))


TREE = {
    "b": {"values": [1, 2]},
    "a": {"parameters": {"y": {"values": ["p", "q", "r"]}, "x": {"value": 7}}},
    "c": {"min": 0.0, "max": 1.0},
}


def test_values_are_by_parameter_at_their_quantiles() -> None:
    values = space_of(TREE).values_at({"b": 0.9, "a.y": 0.1, "c": 0.25})
    assert values == {"a.x": 7, "a.y": "p", "b": 2, "c": 0.25}


def test_a_missing_quantile_is_named() -> None:
    with pytest.raises(ValueError, match=r"a\.y has no quantile"):
        space_of(TREE).values_at({"b": 0.5, "c": 0.5})


def test_a_grid_goes_through_sorted_names_the_last_one_fastest() -> None:
    space = space_of({key: TREE[key] for key in ("b", "a")})
    grid = space.grid()
    assert grid is not None
    assert grid.size == 6
    points = [grid.point(index) for index in range(6)]
    assert [(point["a.y"], point["b"]) for point in points] == [
        ("p", 1), ("p", 2), ("q", 1), ("q", 2), ("r", 1), ("r", 2)
    ]  # fmt: skip
    with pytest.raises(IndexError):
        grid.point(6)


def test_what_has_no_grid_is_named() -> None:
    assert space_of(TREE).grid() is None
    assert "c (uniform)" in str(space_of(TREE).why_no_grid())
    too_many = space_of({"n": {"min": 0, "max": 10**7}})
    assert too_many.grid() is None
    assert "at most 100000 values" in str(too_many.why_no_grid())


def test_constants_alone_are_a_grid_of_one_point() -> None:
    grid = space_of({"a": {"value": 1}}).grid()
    assert grid is not None
    assert (grid.size, grid.point(0)) == (1, {"a": 1})


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_json_restores_a_space_that_draws_the_same(one: float, two: float, three: float) -> None:
    space = space_of({**TREE, "d": {"values": [{"x": [1, 2.0]}, None, "é"]}})
    mapping = space.to_mapping()
    again = Space.from_mapping(json.loads(json.dumps(mapping)))
    quantiles = {"a.y": one, "b": two, "c": three, "d": one}
    assert repr(again.values_at(quantiles)) == repr(space.values_at(quantiles))
    assert json.dumps(again.to_mapping()) == json.dumps(mapping)


def test_values_have_quantiles_that_draw_them() -> None:
    space = space_of(TREE)
    values = {"a.x": 7, "a.y": "q", "b": 1, "c": 0.125, "other": 3}
    quantiles = space.quantiles_of(values)
    assert quantiles is not None
    assert space.values_at(quantiles) == {key: values[key] for key in ("a.x", "a.y", "b", "c")}
    assert space.quantiles_of({**values, "b": 3}) is None
    assert space.quantiles_of({**values, "a.x": 8}) is None
    assert space.quantiles_of({"b": 1}) is None


def test_mappings_are_merged_at_their_path(files: SweepFiles) -> None:
    choices = [{"r": 8, "lora_alpha": 16}, {"r": 32, "lora_alpha": 64, "use_rslora": True}]
    sweep = files.drawing({"adapter": {"values": choices}, "lora_dropout": {"values": [0.1]}})
    values = sweep.space.values_at({"adapter": 0.9, "lora_dropout": 0.5})
    assert sweep.space.settings(values) == {
        "adapter.r": 32,
        "adapter.lora_alpha": 64,
        "adapter.use_rslora": True,
        "adapter.lora_dropout": 0.1,
    }


def test_a_choice_with_a_name_of_its_own_sets_several_sections(files: SweepFiles) -> None:
    choices = [{"learning_rate": 0.001, "adapter.r": 4}, {"lr": 0.1, "adapter": {"r": 2, "lora_alpha": 4}}]
    space = Space.from_mapping(files.drawing({"kind": {"values": choices}}).space.to_mapping())
    assert space.settings({"kind": choices[0]}) == {"training.learning_rate": 0.001, "adapter.r": 4}
    assert space.settings({"kind": choices[1]}) == {
        "training.learning_rate": 0.1,
        "adapter.r": 2,
        "adapter.lora_alpha": 4,
    }


def test_a_mapping_that_is_one_setting_is_not_taken_apart(files: SweepFiles) -> None:
    kinds = [{"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}]
    sweep = files.drawing({"training": {"values": kinds}})
    assert sweep.space.settings({"training": kinds[0]}) == {
        "training.lr_scheduler_type": "cosine_with_min_lr",
        "training.lr_scheduler_kwargs": {"min_lr_rate": 0.1},
    }


def test_no_adapter_and_an_adapter_are_choices(files: SweepFiles) -> None:
    sweep = files.drawing({"adapter": {"values": [None, {"r": 4}]}})
    assert sweep.space.settings({"adapter": None}) == {"adapter": None}
    assert sweep.space.settings({"adapter": {"r": 4}}) == {"adapter.r": 4}


def test_values_are_copies() -> None:
    space = Space((Parameter("a", "a", Distribution("categorical", {"values": [{"x": [1]}]})),))
    values = space.values_at({"a": 0.5})
    values["a"]["x"].append(2)
    assert space.values_at({"a": 0.5}) == {"a": {"x": [1]}}
