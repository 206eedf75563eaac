"""A sweep is stopped, drained, out of budget, changed, retried: nothing is left running, and nothing is lost."""

import re
from collections.abc import Callable

import pytest

from runner.sweeps.journal import Journal
from support.sweeping.small import Place, check_sweep, ended, events, tale

pytestmark = pytest.mark.thorough


def test_stop_pauses_what_trains_and_proves_that_nothing_is_left(calm: Place, place: Place) -> None:
    launched = place.launch("stopped")
    place.wait_for_event("stopped", "reached")
    with place.suspended():
        stopping = place.start("sweep", "stop", "stopped")
        place.wait_for_event("stopped", "stop_requested")
    printed = ended(stopping)
    assert "stopped is stopped, and none of its machines is left" in printed
    ended(launched, code=75)
    assert not place.processes()
    assert not place.state("stopped").running
    check_sweep(place, "stopped")
    assert "there is nothing" not in place.run("sweep", "resume", "stopped")
    assert tale(check_sweep(place, "stopped")) == tale(calm.state("calm"))


def test_drain_lets_trials_reach_their_rung(calm: Place, place: Place) -> None:
    launched = place.launch("drained")
    place.wait_for_event("drained", "taken", count=2)
    with place.suspended():
        place.run("sweep", "stop", "drained", "--drain")
    ended(launched, code=75)
    state = check_sweep(place, "drained")
    assert {event["event"] for event in events(place.entries("drained"))} & {"released"} == set()
    assert all(trial.state == "paused" for trial in state.trials.values())
    place.run("sweep", "resume", "drained")
    assert tale(check_sweep(place, "drained")) == tale(calm.state("calm"))


def test_at_the_cap_trials_pause_and_a_higher_cap_goes_on(calm: Place, place: Place) -> None:
    """A worker that costs millions joins while a trial trains, so that the cap is there at once on any machine."""
    launched = place.launch("capped", "--max-cost", "5")
    place.wait_for_event("capped", "taken")
    Journal(place.store, place.definition("capped"), by="test").append(
        lambda state: [{"event": "joined", "worker": "dear", "dollars_per_hour": 1e6}]
    )
    printed = ended(launched, code=75)
    assert "the budget is spent" in printed
    assert not place.processes()
    assert check_sweep(place, "capped").ended is None
    refused = place.run("sweep", "resume", "capped", code=2)
    assert "--max-cost" in refused
    place.run("sweep", "resume", "capped", "--max-cost", "1e12")
    assert tale(check_sweep(place, "capped")) == tale(calm.state("calm"))


def test_a_machine_whose_price_is_stated_comes_to_the_cap_by_itself(calm: Place, place: Place) -> None:
    """A dollar a second and a cap of a cent: it is there before a worker has imported what it trains with."""
    place.environment["RUNNER_HOURLY_COST"] = "3600"
    printed = ended(place.launch("dear", "--max-cost", "0.01"), code=75)
    assert re.search(r"the budget is spent: \$\d+\.\d\d of \$0\.01", printed), printed
    assert not place.processes()
    state = check_sweep(place, "dear")
    assert {worker.dollars_per_hour for worker in state.workers.values()} == {1800.0}, "two share the machine"
    printed = place.run("sweep", "resume", "dear", "--max-cost", "0.5", code=2)
    assert "the budget is spent" in printed
    place.run("sweep", "resume", "dear", "--max-cost", "1e12")
    assert tale(check_sweep(place, "dear")) == tale(calm.state("calm"))


def test_change_while_it_runs_counts_for_what_is_still_to_be_drawn(place: Place) -> None:
    place.write(run_cap=10)
    launched = place.launch("changed")
    place.wait_for_event("changed", "drawn", count=2)
    place.write(
        name="new.yaml", parameters={"learning_rate": {"values": [0.004]}, "seed": {"min": 1, "max": 1000}}, run_cap=10
    )
    with place.suspended():
        place.run("sweep", "change", "changed", "./new.yaml")
    ended(launched)
    state = check_sweep(place, "changed")
    after = {trial.number: trial.values["learning_rate"] == 0.004 for trial in state.trials.values()}
    assert len(after) == 10
    assert not after[0]
    assert after[9]
    assert sorted(after.values()) == [after[number] for number in sorted(after)]


def test_what_an_earlier_sweep_knows_is_not_drawn_again(make_place: Callable[..., Place]) -> None:
    place = make_place()
    grid = {"learning_rate": {"values": [0.001, 0.002, 0.004]}}
    place.write(method="grid", run_cap=2, parameters=grid, runner={"rungs": None, "scheduler": "none"})
    ended(place.launch("first"))
    place.write(method="grid", run_cap=None, parameters=grid, runner={"rungs": None, "scheduler": "none"})
    ended(place.launch("second", "--from", "first"))
    first, second = check_sweep(place, "first"), check_sweep(place, "second")
    drawn = [trial.values["learning_rate"] for state in (first, second) for trial in state.trials.values()]
    assert sorted(drawn) == [0.001, 0.002, 0.004]
    assert len(second.known) == 2
