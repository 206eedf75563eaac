"""Whatever of a sweep is killed, and wherever it goes on: the same trials, values, scores and winner; no step twice."""

import random
import time
from collections.abc import Callable

import pytest

from support.runs import assert_same, outcome
from support.sweeping.small import Place, check_sweep, ended, kill, tale


def assert_undisturbed(place: Place, sweep_id: str, calm: Place) -> None:
    """A sweep has ended as the undisturbed one has."""
    state = check_sweep(place, sweep_id)
    assert tale(state) == tale(calm.state("calm"))
    number = state.best()[0].number
    assert_same(outcome(place.store, f"{sweep_id}-{number:04d}"), outcome(calm.store, f"calm-{number:04d}"))


@pytest.mark.thorough
def test_the_foreground_is_killed_and_it_goes_on_from_another_home(
    calm: Place, make_place: Callable[..., Place]
) -> None:
    here, elsewhere = make_place("here"), make_place("elsewhere")
    launched = here.launch("killed")
    here.wait_for_event("killed", "reached", count=2)
    launched.kill()
    launched.wait()
    here.wait_for(lambda: not here.processes())
    (elsewhere.folder / "small.yaml").write_text("not: the recipe")  # the sweep has its own
    elsewhere.run("sweep", "resume", "killed")
    assert_undisturbed(elsewhere, "killed", calm)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(3))
def test_anything_is_killed_at_random_moments(calm: Place, make_place: Callable[..., Place], seed: int) -> None:
    rng = random.Random(seed)
    homes = [make_place("here"), make_place("elsewhere")]
    here = homes[0]
    running = here.launch("killed")
    here.wait_for(lambda: here.of_kind("worker"))
    for _ in range(4):
        time.sleep(rng.uniform(0.5, 12))
        kinds = ["training", "training", "worker", "slots", "foreground"]
        rng.shuffle(kinds)
        for kind in kinds:
            if running.poll() is None and (found := here.of_kind(kind)):
                kill(rng.choice(found))
                break
        time.sleep(rng.uniform(0, 8))
        if running.poll() is not None and here.state("killed").ended is None:
            here = rng.choice(homes)
            running = here.start("sweep", "resume", "killed")
    printed = ended(running, code=None)
    for _ in range(3):  # its workers may have been killed last
        if here.state("killed").ended is None:
            printed = here.run("sweep", "resume", "killed", code=None)
    assert here.state("killed").ended is not None, printed
    assert_undisturbed(here, "killed", calm)


@pytest.mark.thorough
def test_of_two_that_go_on_at_once_no_trial_is_trained_by_both(calm: Place, make_place: Callable[..., Place]) -> None:
    here, elsewhere = make_place("here"), make_place("elsewhere")
    launched = here.launch("twice")
    here.wait_for_event("twice", "joined", count=2)
    here.wait_for_event("twice", "taken")
    with here.suspended():
        both = [elsewhere.start("sweep", "resume", "twice"), here.start("sweep", "resume", "twice", "--parallel", "1")]
        here.wait_for_event("twice", "joined", count=5)
    for process in (launched, *both):
        ended(process)
    workers = here.state("twice").workers
    assert len(workers) == 5
    assert_undisturbed(here, "twice", calm)
    here.wait_for(lambda: not [*here.processes(), *elsewhere.processes()])
