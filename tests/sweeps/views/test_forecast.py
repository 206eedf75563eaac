"""What a sweep will train, before anything starts."""

import pytest

from runner.sweeps.views.forecast import forecast, total_steps
from support.sweeping.definitions import make_definition


@pytest.mark.parametrize(
    ("rungs", "eta", "trials", "by_rung", "steps"),
    [
        # A grid of 108 by hand: half of it goes on from each rung.
        ((30, 60), 2, 108, [108, 54, 27], 6480),
        ((30, 60), 3, 108, [108, 36, 12], 5040),
        ((10, 40), 4, 108, [108, 27, 6], 2370),
        ((10, 30, 90), 3, 108, [108, 36, 12, 4], 2640),
        ((30, 60), 3, 27, [27, 9, 3], 1260),
        ((30, 60), 3, 1, [1, 1, 1], 120),
    ],
)
def test_successive_halving_trains_each_step_once(
    rungs: tuple[int, ...], eta: float, trials: int, by_rung: list[int], steps: int
) -> None:
    definition = make_definition(rungs=rungs, max_steps=120, eta=eta, scheduler="successive_halving")
    rows = forecast(definition, trials)
    assert [row.trials for row in rows] == by_rung
    assert [row.step for row in rows] == [*rungs, 120]
    assert total_steps(rows) == steps


def test_trials_of_a_later_bracket_are_trained_from_the_beginning_too() -> None:
    definition = make_definition(rungs=(10, 30), max_steps=90, eta=3, scheduler="hyperband")
    rows = forecast(definition, 11)  # shared out as 6, 3 and 2
    sizes = [6, 3, 2]
    to_30 = 2 * 20 + sizes[1] * 30
    to_90 = 1 * 60 + 1 * 60 + sizes[2] * 90
    assert [row.steps for row in rows] == [60, to_30, to_90]


def test_a_sweep_without_rungs_trains_every_trial_to_its_end() -> None:
    rows = forecast(make_definition(max_steps=1500), 3)
    assert [(row.step, row.trials, row.steps) for row in rows] == [(1500, 3, 4500)]


def test_steps_of_epochs_are_not_guessed() -> None:
    assert total_steps(forecast(make_definition(), 3)) is None
