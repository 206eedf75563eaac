from collections.abc import Mapping
from typing import Any

from runner.sweeps.search.base import Draw, Observation, make_search
from runner.sweeps.space.space import Space
from support.sweeping.spaces import make_space

SPACE: Mapping[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3},
    "dropout": {"min": 0.0, "max": 0.5},
}


def draw(space: Space, number: int, seen: list[Observation] | None = None, seed: int = 42) -> Draw:
    found = make_search(space, method="random", seed=seed).draw(number, seen or [])
    assert found is not None
    return found


def complete(trial: int, drawn: Draw) -> Observation:
    return Observation(trial=trial, values=drawn.values, quantiles=drawn.quantiles, state="complete", value=1.0)


def test_a_trial_is_the_same_whatever_else_happened() -> None:
    space = make_space(**SPACE)
    alone = draw(space, 7)
    seen = [complete(number, draw(space, number)) for number in range(7)]
    assert draw(space, 7, seen) == draw(space, 7, seen[::-1]) == alone
    search = make_search(space, method="random", seed=42)
    assert [search.draw(number, []) for number in (9, 7, 8)] == [draw(space, number) for number in (9, 7, 8)]


def test_a_trial_is_what_it_was_in_earlier_versions() -> None:
    """A sweep that goes on with a newer version of runner must draw what was drawn."""
    quantiles = draw(make_space(**SPACE), 3).quantiles
    assert quantiles == {"dropout": 0.069778021629196, "lr": 0.15251867825816623}


def test_trials_and_seeds_differ() -> None:
    space = make_space(**SPACE)
    drawn = [draw(space, number, seed=seed).values["lr"] for seed in range(10) for number in range(10)]
    assert len(set(drawn)) == 100


def test_a_parameter_more_leaves_the_others_as_they_are() -> None:
    fewer, more = draw(make_space(**SPACE), 5), draw(make_space(**SPACE, decay={"min": 0.0, "max": 1.0}), 5)
    assert {name: more.values[name] for name in SPACE} == fewer.values


def test_values_are_those_of_the_quantiles() -> None:
    space = make_space(**SPACE)
    drawn = draw(space, 5)
    assert space.values_at(drawn.quantiles) == drawn.values


def test_quantiles_fill_the_range_evenly() -> None:
    space = make_space(**SPACE)
    quantiles = sorted(draw(space, number).quantiles["lr"] for number in range(1000))
    # Kolmogorov and Smirnov: even ones are farther off than this once in a thousand times.
    assert max(abs(quantile - index / 1000) for index, quantile in enumerate(quantiles)) < 0.062


def test_no_trial_repeats_another_where_there_are_few_points() -> None:
    space = make_space(lr={"values": [1, 2, 3, 4]}, rank={"values": [8, 16, 32]}, seed={"value": 1})
    search = make_search(space, method="random", seed=1)
    seen: list[Observation] = []
    while (drawn := search.draw(len(seen), seen)) is not None:
        seen.append(complete(len(seen), drawn))
    points = {(observation.values["lr"], observation.values["rank"]) for observation in seen}
    assert len(points) == len(seen) == 12


def test_what_other_sweeps_have_is_not_drawn() -> None:
    space = make_space(flag={"values": [1, True]})
    seen = [Observation(trial=-1, values={"flag": 1}, quantiles={}, state="complete", value=0.5)]
    assert draw(space, 0, seen).values["flag"] is True


def test_a_space_of_constants_has_one_trial() -> None:
    space = make_space(lr={"value": 0.1})
    first = draw(space, 0)
    assert first.values == {"lr": 0.1}
    assert make_search(space, method="random", seed=1).draw(1, [complete(0, first)]) is None


def test_only_where_the_points_can_be_counted_are_earlier_trials_looked_at() -> None:
    def looks_back(**parameters: Any) -> bool:
        return make_search(make_space(**parameters), method="random", seed=1).looks_back

    assert looks_back(lr={"values": [1, 2]}, layers={"min": 1, "max": 6})
    assert not looks_back(lr={"values": [1, 2]}, dropout={"min": 0.0, "max": 0.5})
