"""Bayesian search with the real Optuna."""

import math
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from runner.sweeps.search.base import Draw, Observation, make_search
from runner.sweeps.space.space import Space
from support.paths import ROOT
from support.sweeping.spaces import make_space

LR = {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1}
MIXED: Mapping[str, Any] = {
    "lr": LR,
    "decay": {"min": 0.0, "max": 1.0},
    "adapter": {"values": [{"r": 8}, {"r": 16}, {"r": 32}]},
    "steps": {"value": 100},
}


def mixed_loss(values: Mapping[str, Any]) -> float:
    """Lowest at lr 1e-3, decay 0.7 and r 16."""
    off = 0.0 if values["adapter"]["r"] == 16 else 0.5
    return abs(math.log10(values["lr"]) + 3) + 4 * (values["decay"] - 0.7) ** 2 + off


def sweep(
    space: Space,
    trials: int,
    loss: Callable[[Mapping[str, Any]], float | None],
    *,
    seed: int = 0,
    method: str = "bayes",
) -> list[Observation]:
    """Run trials one after another. A loss of None is a trial that diverged."""
    search = make_search(space, method=method, seed=seed)
    seen: list[Observation] = []
    for number in range(trials):
        drawn = search.draw(number, seen)
        if drawn is None:
            break
        value = loss(drawn.values)
        state = "infeasible" if value is None else "complete"
        seen.append(Observation(trial=number, values=drawn.values, quantiles=drawn.quantiles, state=state, value=value))
    return seen


def draw(space: Space, number: int, seen: list[Observation], seed: int = 0) -> Draw:
    drawn = make_search(space, method="bayes", seed=seed).draw(number, seen)
    assert drawn is not None
    return drawn


def best(seen: list[Observation]) -> float:
    return min(observation.value for observation in seen if observation.value is not None)


def test_a_suggestion_depends_on_the_set_of_results_alone() -> None:
    space = make_space(**MIXED)
    seen = sweep(space, 24, mixed_loss)
    drawn = draw(space, 24, seen)
    for shuffle in range(3):
        random.Random(shuffle).shuffle(seen)
        assert draw(space, 24, seen) == drawn
    assert draw(space, 25, seen) != drawn
    assert draw(space, 24, seen, seed=1) != drawn
    assert draw(space, 24, [each for each in seen if each.value != best(seen)]) != drawn


def test_a_replay_gives_the_same_trials() -> None:
    space = make_space(**MIXED)
    seen = sweep(space, 24, mixed_loss)
    rebuilt = Space.from_mapping(space.to_mapping())
    for observation in seen:
        drawn = draw(rebuilt, observation.trial, [other for other in seen if other.trial < observation.trial])
        assert (drawn.values, drawn.quantiles) == (observation.values, observation.quantiles)


def test_it_finds_better_values_than_random_does() -> None:
    space = make_space(**MIXED)
    losses = {
        method: [best(sweep(space, 40, mixed_loss, seed=seed, method=method)) for seed in range(20)]
        for method in ("bayes", "random")
    }
    assert statistics.median(losses["bayes"]) < 0.5 * statistics.median(losses["random"])
    assert sum(map(float.__lt__, losses["bayes"], losses["random"])) >= 16


def test_the_first_ten_and_every_fourth_trial_are_random() -> None:
    space = make_space(**MIXED)
    bayes, chance = sweep(space, 40, mixed_loss), sweep(space, 40, mixed_loss, method="random")
    same = [one.trial for one, other in zip(bayes, chance, strict=True) if one.values == other.values]
    assert same == [*range(10), *range(11, 40, 4)]


def test_a_distribution_is_the_prior() -> None:
    """The best value is on the distribution's rim: few are drawn there, but within what it gives."""
    space = make_space(dropout={"distribution": "beta", "a": 2, "b": 8}, noise={"distribution": "normal"})
    seen = sweep(space, 60, lambda values: abs(values["dropout"] - 0.2) + 0 * values["noise"])
    values = [observation.values["noise"] for observation in seen]
    assert 0.4 < statistics.stdev(values) < 1.6
    assert all(abs(value) < 5 for value in values)
    assert statistics.median(abs(each.values["dropout"] - 0.2) for each in seen[30:]) < 0.05


def test_rounded_and_whole_values_stay_what_the_distribution_gives() -> None:
    space = make_space(
        length={"distribution": "q_log_uniform_values", "min": 64, "max": 1024, "q": 64},
        layers={"min": 1, "max": 6},
    )
    seen = sweep(space, 30, lambda values: abs(values["length"] - 512) + abs(values["layers"] - 3))
    assert all(observation.values["length"] % 64 == 0 for observation in seen)
    assert {observation.values["layers"] for observation in seen} <= set(range(1, 7))
    assert all(space.values_at(observation.quantiles) == observation.values for observation in seen)


def test_values_that_diverge_are_avoided_and_never_a_value() -> None:
    space = make_space(**MIXED)

    def loss(values: Mapping[str, Any]) -> float | None:
        return None if values["lr"] > 2e-3 else mixed_loss(values)

    def diverged(method: str) -> int:
        sweeps = [sweep(space, 60, loss, seed=seed, method=method)[10:] for seed in range(5)]
        return sum(observation.state == "infeasible" for seen in sweeps for observation in seen)

    assert diverged("bayes") < 0.7 * diverged("random")
    seen = sweep(space, 30, loss)
    # Whatever number somebody wrote for a trial that diverged, it is not looked at.
    told = [
        Observation(
            trial=each.trial, values=each.values, quantiles=each.quantiles, state=each.state, value=each.value or -1e9
        )
        for each in seen
    ]
    assert draw(space, 30, told) == draw(space, 30, seen)


def test_only_trials_that_diverged_leave_it_random() -> None:
    space = make_space(**MIXED)
    seen = sweep(space, 30, lambda values: None)
    chance = sweep(space, 30, lambda values: None, method="random")
    assert [each.values for each in seen] == [each.values for each in chance]
    told = [
        Observation(trial=each.trial, values=each.values, quantiles=each.quantiles, state="infeasible", value=1.0)
        for each in seen
    ]
    assert draw(space, 30, told) == make_search(space, method="random", seed=0).draw(30, told)


def test_many_that_diverged_are_never_an_example_of_good_values() -> None:
    """TPE takes the best tenth of all as good: 200 without a result beside 10 would fill it, from the first on."""
    space = make_space(lr={"min": 0.0, "max": 1.0})
    seen = [_at(number, 0.2 + number / 1000, value=float(number)) for number in range(10)]
    seen += [_at(number, 0.9 + number / 1000, state="infeasible") for number in range(10, 21)]
    seen += [_at(number, 0.5 + number / 1000, state="infeasible") for number in range(21, 210)]
    suggested = [draw(space, number, seen).values["lr"] for number in range(212, 292) if number % 4 != 3]
    assert sum(lr > 0.8 for lr in suggested) < 0.1 * len(suggested)


def test_a_result_that_is_no_number_is_none() -> None:
    space = make_space(lr={"min": 0.0, "max": 1.0})
    seen = [_at(number, number / 20, step=10, value=float(number)) for number in range(12)]
    running = draw(space, 13, [*seen, _at(12, 0.9, state="running")])
    assert draw(space, 13, [*seen, _at(12, 0.9, step=10, value=math.nan)]) == running
    assert draw(space, 13, [*seen, _at(12, 0.9, results={10: math.nan})]) == running


def _at(
    trial: int,
    lr: float,
    *,
    state: Any = "complete",
    step: int | None = None,
    value: float | None = None,
    results: Mapping[int, float] | None = None,
) -> Observation:
    return Observation(
        trial=trial,
        values={"lr": lr},
        quantiles={"lr": lr},
        state=state,
        step=step,
        value=value,
        results=results or {},
    )


def test_what_the_machines_did_changes_nothing() -> None:
    space = make_space(lr={"min": 0.0, "max": 1.0})
    seen = [_at(number, number / 20, value=float(number)) for number in range(12)]
    assert draw(space, 13, [*seen, _at(12, 0.01, state="failed")]) == draw(space, 13, seen)
    assert draw(space, 13, [*seen, _at(12, 0.01, state="running")]) != draw(space, 13, seen)


def test_it_keeps_away_from_what_is_running() -> None:
    space = make_space(lr={"min": 0.0, "max": 1.0})
    seen = [_at(number, 0.05 * number + 0.02, value=abs(0.05 * number - 0.5)) for number in range(20)]
    running = [_at(20 + number, 0.5 + number / 500, state="running") for number in range(10)]
    numbers = [number for number in range(40, 120) if number % 4 != 3]
    near = sum(abs(draw(space, number, seen).values["lr"] - 0.52) < 0.05 for number in numbers)
    nearer = sum(abs(draw(space, number, [*seen, *running]).values["lr"] - 0.52) < 0.05 for number in numbers)
    assert nearer < 0.7 * near


def test_the_highest_rung_that_ten_trials_reached_is_modelled() -> None:
    """Early on, high learning rates are better, in the end low ones."""
    space = make_space(lr={"min": 0.0, "max": 1.0})

    def at_rungs(number: int, rungs: tuple[int, ...], *, full: bool = True) -> Observation:
        lr = number / 40
        results = {step: (1 - lr if step == 10 else lr) for step in rungs}
        last = max(rungs)
        return _at(number, lr, state="running", step=last, value=results[last], results=results if full else None)

    def suggested(higher: int) -> float:
        seen = [at_rungs(number, (10, 40) if number % 40 < higher else (10,)) for number in range(40)]
        return statistics.median(draw(space, number, seen).values["lr"] for number in range(40, 80) if number % 4 != 3)

    assert suggested(higher=9) > 0.75
    assert suggested(higher=10) < 0.25


def test_a_trial_that_went_on_counts_at_the_rungs_below() -> None:
    """Those that went on are the best: as running ones they would be taken for bad."""
    space = make_space(lr={"min": 0.0, "max": 1.0})
    seen = [_at(number, number / 40, state="running", step=40, value=number / 40) for number in range(6)]
    seen += [_at(number, 0.3 + number / 60, state="running", step=10, value=1 + number / 40) for number in range(6, 40)]
    drawn = [draw(space, number, seen).values["lr"] for number in range(40, 80) if number % 4 != 3]
    assert statistics.median(drawn) < 0.25


def test_trials_of_another_space_count_where_they_lie_in_this_one() -> None:
    """As after `sweep change`, and with `--from`: quantiles are another space's, or not known."""
    wide = make_space(lr=LR, rank={"values": [8, 16, 32]})
    narrow = make_space(lr={**LR, "max": 1e-3}, rank={"values": [16, 8, 64]})
    seen = sweep(wide, 30, lambda values: abs(math.log10(values["lr"]) + 3.5) + values["rank"] / 100)
    inside = [each for each in seen if each.values["lr"] <= 1e-3 and each.values["rank"] != 32]
    assert 10 <= len(inside) < 30
    drawn = draw(narrow, 32, seen)
    assert drawn == draw(narrow, 32, inside)
    bare = [
        Observation(trial=each.trial, values=each.values, quantiles={}, state=each.state, value=each.value)
        for each in inside
    ]
    again = draw(narrow, 32, bare)
    assert again.values["lr"] == pytest.approx(drawn.values["lr"], rel=1e-6)
    assert again.values["rank"] == drawn.values["rank"]
    assert drawn != draw(narrow, 32, [])


def test_trials_with_other_parameters_are_left_out() -> None:
    space = make_space(lr={"min": 0.0, "max": 1.0})
    seen = [_at(number, number / 20, value=float(number)) for number in range(12)]
    other = [
        Observation(trial=20, values={}, quantiles={}, state="complete", value=-1.0),
        Observation(trial=21, values={"lr": 0.5, "rank": 8}, quantiles={"lr": 0.5}, state="complete", value=-1.0),
        Observation(trial=22, values={"lr": "0.5"}, quantiles={}, state="complete", value=-1.0),
        Observation(trial=23, values={"lr": 7.0}, quantiles={"lr": 0.5}, state="complete", value=-1.0),
    ]
    assert draw(space, 13, [*seen, *other]) == draw(space, 13, seen)


def test_one_parameter_is_enough() -> None:
    space = make_space(lr=LR)
    seen = sweep(space, 40, lambda values: abs(math.log10(values["lr"]) + 3))
    assert best(seen) < 0.05


def test_constants_alone_have_one_trial() -> None:
    seen = sweep(make_space(lr={"value": 0.1}, rank={"values": [8]}), 5, lambda values: 1.0)
    assert [each.values for each in seen] == [{"lr": 0.1, "rank": 8}]


def test_no_trial_repeats_another_until_all_points_are_drawn() -> None:
    space = make_space(lr={"values": [1, 2, 3, 4, 5]}, rank={"values": [8, 16, 32, 64]})
    seen = sweep(space, 100, lambda values: values["lr"] + values["rank"])
    assert len({(each.values["lr"], each.values["rank"]) for each in seen}) == len(seen) == 20


def test_it_says_nothing_and_leaves_loggers_and_warnings_as_they_are() -> None:
    program = """
import logging, sys, warnings
warnings.simplefilter("error")
sys.path.insert(0, sys.argv[1])
from support.sweeping.spaces import make_space
from runner.sweeps.search.base import Observation, make_search
assert "optuna" not in sys.modules
search = make_search(make_space(lr={"min": 0.0, "max": 1.0}), method="bayes", seed=1)
seen = [
    Observation(trial=n, values={"lr": n / 20}, quantiles={"lr": n / 20}, state="complete", value=float(n))
    for n in range(12)
]
import optuna
def state():
    root, own = logging.getLogger(), logging.getLogger("optuna")
    return root.level, list(root.handlers), own.level, list(own.handlers), own.propagate, list(warnings.filters)
before = state()
assert search.draw(12, seen).values != search.draw(13, seen).values
assert state() == before
assert "torch" not in sys.modules
"""
    process = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "tests")], capture_output=True, text=True, timeout=120, check=False
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
