import pytest

from runner.errors import UserError
from runner.sweeps.search.base import Observation, make_search
from support.sweeping.spaces import make_space

POINTS = {"lr": {"values": [1, 2, 3]}, "rank": {"values": [8, 16]}}


def grid_values(seen: list[Observation], first: int = 0, **parameters: object) -> list[dict[str, object]]:
    """Return what a grid draws from a trial on until it is exhausted, and each is told of those before it."""
    search = make_search(make_space(**(parameters or POINTS)), method="grid", seed=42)
    seen, drawn = list(seen), []
    while (found := search.draw(first + len(drawn), seen)) is not None:
        seen.append(Observation(trial=first + len(drawn), values=found.values, quantiles={}, state="running"))
        drawn.append(dict(found.values))
    return drawn


def test_trials_are_the_grids_points_in_its_order_and_then_it_is_exhausted() -> None:
    space = make_space(**POINTS)
    grid = space.grid()
    assert grid is not None
    assert grid.size == 6
    assert grid_values([]) == [grid.point(index) for index in range(6)]


def test_a_trial_is_the_same_if_those_before_it_are_not_told_yet() -> None:
    search = make_search(make_space(**POINTS), method="grid", seed=42)
    points = grid_values([])
    told = [
        Observation(trial=trial, values=points[trial], quantiles={}, state="complete", value=1.0) for trial in (0, 2)
    ]
    for seen in ([], told, told[:1], told[1:]):
        drawn = search.draw(4, seen)
        assert drawn is not None
        assert drawn.values == points[4]
    assert search.draw(6, []) is None


def test_points_of_other_sweeps_are_not_repeated() -> None:
    points = grid_values([])
    other = [Observation(trial=-1, values=points[1], quantiles={}, state="complete", value=1.0)]
    other += [Observation(trial=-2, values={"lr": 99.0, "rank": 8}, quantiles={}, state="complete", value=1.0)]
    assert grid_values(other) == [points[0], *points[2:]]


def test_after_a_change_the_new_points_are_drawn() -> None:
    points = grid_values([])
    seen = [
        Observation(trial=trial, values=point, quantiles={}, state="complete", value=1.0)
        for trial, point in enumerate(points[:4])
    ]
    changed = {"lr": {"values": [2, 3, 4]}, "rank": {"values": [8, 16]}}
    drawn = grid_values(seen, first=4, **changed)
    assert sorted((point["lr"], point["rank"]) for point in drawn) == [(3, 8), (3, 16), (4, 8), (4, 16)]


def test_a_parameter_without_a_grid_is_a_mistake() -> None:
    with pytest.raises(UserError, match="grid"):
        make_search(make_space(lr={"min": 0.0, "max": 1.0}), method="grid", seed=1)


def test_an_unknown_method_is_a_mistake() -> None:
    with pytest.raises(UserError, match="`random`, `grid` or `bayes`"):
        make_search(make_space(**POINTS), method="bayesian", seed=1)
