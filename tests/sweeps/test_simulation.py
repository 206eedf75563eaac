"""Three hundred trials on forty machines that come and go, in simulated time: what a decision costs does not grow."""

import cProfile
import pstats
from typing import Any

import pytest

from support.fakes.memory_store import MemoryStore
from support.sweeping.simulated import Simulation, simulate

SCHEDULERS = ["none", "successive_halving", "asha", "hyperband", "stop"]


def large(
    scheduler: str, *, trials: int = 300, workers: int = 40, life: float | None = 900.0, **more: Any
) -> Simulation:
    rungs = () if scheduler == "none" else (100, 300)
    fields = {"scheduler": scheduler, "rungs": rungs, "max_steps": 900, "max_cost": 1e9, "max_hours": 1e6, **more}
    return simulate(MemoryStore(), workers=workers, mean_life_seconds=life, run_cap=trials, **fields)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_trial_is_lost_or_trained_twice(scheduler: str) -> None:
    simulation = large(scheduler)
    state = simulation.journal.state
    assert state.ended is not None
    assert state.ended[0] == "succeeded"
    assert len(state.trials) == 300
    assert not state.running | state.ready
    assert sum(trial.interruptions for trial in state.trials.values()) >= 20
    assert not [trial.failure for trial in state.trials.values() if trial.failure]
    for number, spans in simulation.steps_trained.items():
        ends = [0, *(end for _, end in spans)]
        assert [start for start, _ in spans] == ends[:-1]
        assert ends[-1] == state.trials[number].step


def test_preemptions_change_nothing_in_successive_halving() -> None:
    calm, stormy = large("successive_halving", life=None), large("successive_halving")
    assert calm.journal.state.ended == stormy.journal.state.ended
    scores = [{number: trial.scores for number, trial in one.journal.state.trials.items()} for one in (calm, stormy)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_an_event_costs_does_not_grow_with_the_sweep(scheduler: str) -> None:
    """Calls of functions and requests to the store for each event, of a sweep and of one five times as long."""
    small, big = (cost_of_an_event(scheduler, trials) for trials in (60, 300))
    assert big[0] < 1.5 * small[0], "calls"
    assert big[1] < 1.1 * small[1], "requests"


def cost_of_an_event(scheduler: str, trials: int) -> tuple[float, float]:
    requests: list[str] = []
    store = MemoryStore(step=requests.append)
    profile = cProfile.Profile()
    rungs = () if scheduler == "none" else (100, 300)
    profile.enable()
    try:
        simulation = simulate(
            store,
            workers=8,
            mean_life_seconds=600.0,
            run_cap=trials,
            scheduler=scheduler,
            rungs=rungs,
            max_steps=900,
            max_cost=1e9,
            max_hours=1e6,
        )
    finally:
        profile.disable()
    calls = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return calls / simulation.events, len(requests) / simulation.events
