"""Whole sweeps in simulated time, with machines that come and go: the real controller, the real journal."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.storage.open import open_store
from runner.sweeps.journal import Journal
from runner.sweeps.snapshot import make_snapshot
from support.sweeping.simulated import Simulation, curve, simulate


def sweep(folder: Path, **options: Any) -> Simulation:
    return simulate(open_store(str(folder)), **options)


def outcome(simulation: Simulation) -> Any:
    """What came of each trial, without when and where."""
    state = simulation.journal.state
    trials = {number: (trial.state, trial.scores, dict(trial.values)) for number, trial in state.trials.items()}
    return state.ended, [trial.number for trial in state.best(5)], trials


def check_steps(simulation: Simulation) -> None:
    """No step was trained twice, and none was left out."""
    for number, spans in simulation.steps_trained.items():
        trial = simulation.journal.state.trials[number]
        assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == trial.step


@pytest.mark.parametrize("life", [None, 300.0, 60.0])
@pytest.mark.parametrize("scheduler", ["none", "successive_halving", "asha", "hyperband", "stop"])
def test_no_step_is_trained_twice_and_no_trial_is_lost(tmp_path: Path, scheduler: str, life: float | None) -> None:
    rungs = () if scheduler == "none" else (10, 30)
    simulation = sweep(tmp_path, scheduler=scheduler, rungs=rungs, run_cap=27, workers=5, mean_life_seconds=life)
    state = simulation.journal.state
    check_steps(simulation)
    assert state.ended is not None
    assert state.ended[0] == "succeeded"
    assert not state.running
    assert not state.ready
    assert sorted(state.trials) == list(range(27))
    assert all(worker.left_at is not None for worker in state.workers.values())


@pytest.mark.parametrize("scheduler", ["none", "successive_halving", "hyperband"])
def test_preemptions_and_the_number_of_workers_do_not_change_what_comes_of_a_sweep(
    tmp_path: Path, scheduler: str
) -> None:
    rungs = () if scheduler == "none" else (10, 30)
    outcomes = []
    for number, (workers, life) in enumerate([(1, None), (4, None), (16, None), (4, 60.0)]):
        options = {"scheduler": scheduler, "rungs": rungs, "run_cap": 27}
        outcomes.append(outcome(sweep(tmp_path / str(number), workers=workers, mean_life_seconds=life, **options)))
    assert outcomes[0] == outcomes[1] == outcomes[2] == outcomes[3]


def test_successive_halving_finds_what_is_the_best_at_each_rung(tmp_path: Path) -> None:
    simulation = sweep(tmp_path, run_cap=27, workers=4, mean_life_seconds=100.0)
    by_first = sorted(range(27), key=lambda number: curve(0, number, 10))[:9]
    by_second = sorted(by_first, key=lambda number: curve(0, number, 30))[:3]
    finished = {number for _, number in simulation.journal.state.finished}
    assert finished == set(by_second)
    trained = sum(end - start for spans in simulation.steps_trained.values() for start, end in spans)
    assert trained == 27 * 10 + 9 * 20 + 3 * 60


def test_asha_trains_about_what_halving_does_and_nobody_waits(tmp_path: Path) -> None:
    simulation = sweep(tmp_path, scheduler="asha", run_cap=81, workers=8)
    reached = [len(simulation.journal.state.rung(0, number).ranked) for number in range(3)]
    assert reached[0] == 81
    assert 24 <= reached[1] <= 27
    assert 7 <= reached[2] <= 9


def test_the_journal_alone_gives_the_same_state(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    simulation = simulate(store, run_cap=27, workers=4, mean_life_seconds=60.0)
    read = Journal(store, simulation.definition, by="reader").catch_up()
    shown = [json.dumps(make_snapshot(state), sort_keys=True) for state in (read, simulation.journal.state)]
    assert shown[0] == shown[1]


def test_a_budget_ends_a_sweep_that_would_go_on_for_ever(tmp_path: Path) -> None:
    options = {"scheduler": "asha", "run_cap": None, "max_cost": 2.0, "workers": 4}
    simulation = sweep(tmp_path, **options)
    state = simulation.journal.state
    assert state.stop is not None
    assert state.stop.startswith("the budget is spent: $2.")
    assert 2.0 <= state.spent(simulation.now) < 2.5  # what was running came to its rung
