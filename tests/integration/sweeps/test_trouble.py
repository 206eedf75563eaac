"""What can go wrong with a sweep: it is said clearly, nothing is lost, and nothing runs on."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.sweeps.layout import sweep_key
from support.servers.s3 import BUCKET, make_bucket, ministack_on_disk
from support.sweeping.small import RECIPE, Place, check_sweep, ended, tale

pytestmark = pytest.mark.thorough


def test_a_trial_that_diverges_is_not_tried_again_and_the_others_go_on(place: Place) -> None:
    rates = {"learning_rate": {"values": [1.0e9, 0.001, 0.002]}}
    place.write(method="grid", run_cap=None, parameters=rates, runner={"eta": 3})
    ended(place.launch("wild"))
    state = check_sweep(place, "wild")
    assert {trial.values["learning_rate"]: trial.state for trial in state.trials.values()}[1.0e9] != "finished"
    assert state.trials[0].failures <= 1
    assert state.best()[0].values["learning_rate"] < 1
    assert state.ended is not None
    assert state.ended[0] == "succeeded"


def test_a_metric_that_never_comes_is_named_with_those_that_there_are(place: Place) -> None:
    place.write(metric={"name": "eval/accuracy_of_nothing", "goal": "maximize"}, run_cap=2)
    printed = ended(place.launch("blind"), code=None)
    assert "eval_loss" in printed or "eval/loss" in printed, printed
    assert place.started[-1].returncode in (1, 2)
    assert not place.processes()


def test_ten_failures_with_one_cause_stop_the_sweep_and_are_said(place: Place) -> None:
    broken = {**RECIPE, "training": {**RECIPE["training"], "max_length": 4}}
    place.write(recipe=broken, run_cap=27)
    printed = ended(place.launch("broken"), code=None)
    assert place.started[-1].returncode in (1, 75)
    assert "10 failures in a row with one cause" in printed, printed
    assert len(place.state("broken").trials) in (10, 11)
    assert not place.processes()


def test_the_store_is_away_for_a_while(calm: Place, place: Place) -> None:
    launched = place.launch("away")
    place.wait_for_event("away", "reached")
    store, elsewhere = place.folder.parent / "store", place.folder.parent / "elsewhere"
    store.rename(elsewhere)
    store.write_text("no folder: a disk that is not mounted")
    time.sleep(8)
    store.unlink()
    elsewhere.rename(store)
    ended(launched)
    assert tale(check_sweep(place, "away")) == tale(calm.state("calm"))


def test_an_object_store_is_killed_and_started_again(
    calm: Place, make_place: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ministack_on_disk(tmp_path / "server") as server:
        make_bucket(server)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        place = make_place(store=f"s3://{BUCKET}/away", environment=server.environment())
        launched = place.launch("away")
        place.wait_for_event("away", "reached")
    time.sleep(8)
    assert launched.poll() is None, "there is more to train, and nothing can be trained now"
    with ministack_on_disk(tmp_path / "server", server.port):
        ended(launched)
        assert tale(check_sweep(place, "away")) == tale(calm.state("calm"))


def test_a_recipe_that_has_changed_since_does_not_change_the_sweep(calm: Place, place: Place) -> None:
    launched = place.launch("kept")
    place.wait_for_event("kept", "taken")
    (place.folder / "small.yaml").write_text("not: the recipe")
    (place.folder / "rows.jsonl").unlink()
    ended(launched)
    assert tale(check_sweep(place, "kept")) == tale(calm.state("calm"))


def test_a_sweep_of_another_version_is_refused(place: Place) -> None:
    place.run("sweep", "launch", "./sweep.yaml", "--name", "old", "--detach")
    place.run("sweep", "stop", "old")
    key = sweep_key("old", "sweep.json")
    place.store.put(key, json.dumps({**json.loads(place.store.get(key)), "runner_version": "99.1.0"}).encode())
    printed = place.run("sweep", "resume", "old", code=None)
    assert place.started[-1].returncode in (1, 2, 75)
    assert "99.1.0" in printed, printed
    assert not place.processes()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({}, "parameters"), ({"learning_rate": {"values": [-1.0]}}, "learning_rate"), ({"lr": {"values": []}}, "lr")],
)
def test_an_empty_or_impossible_space_starts_nothing(place: Place, parameters: object, words: str) -> None:
    place.write(parameters=parameters)
    printed = ended(place.launch("never"), code=2)
    assert words in printed
    assert not list(place.store.objects("sweeps/"))
