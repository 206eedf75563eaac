"""A sweep on this machine, from its launch to the recipe that has won."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from runner.storage.open import open_store
from support.runs import assert_same, check_metrics, outcome
from support.servers.s3 import S3Server
from support.sweeping.small import Place, as_flag, check_sweep, tale


def test_its_winner_equals_bit_for_bit_the_same_trial_trained_straight_through(calm: Place, place: Place) -> None:
    """It has paused at two rungs, perhaps on two workers; `runner launch` with its values does not pause."""
    state = calm.state("calm")
    assert [len(state.rung(0, number).ranked) for number in range(3)] == [4, 2, 1]
    (winner,) = [trial for trial in state.trials.values() if trial.state == "finished"]
    assert state.best()[0].number == winner.number
    assert sorted(winner.scores) == [0, 1, 2]
    changes = [part for setting in winner.settings.items() for part in ("--set", as_flag(*setting))]
    place.run("launch", "./small.yaml", "--name", "straight", *changes)
    promoted = outcome(calm.store, f"calm-{winner.number:04d}")
    check_metrics(promoted["metrics"], 12)
    assert_same(outcome(place.store, "straight"), promoted)


def test_best_prints_the_recipe_that_has_won(calm: Place, place: Place, tmp_path: Path) -> None:
    """Launched by hand it makes the winner's weights again."""
    winner = calm.state("calm").best()[0]
    calm.run("sweep", "best", "calm", "--out", str(tmp_path / "best.yaml"))
    recipe = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert recipe["training"]["learning_rate"] == winner.values["learning_rate"]
    assert recipe["adapter"]["lora_dropout"] == winner.values["lora_dropout"]
    assert recipe["data"]["train"][0]["path"] == str(calm.folder / "rows.jsonl")
    place.run("launch", str(tmp_path / "best.yaml"), "--name", "again")
    assert_same(outcome(place.store, "again"), outcome(calm.store, f"calm-{winner.number:04d}"))


@pytest.mark.thorough
def test_it_is_the_same_on_an_object_store(
    calm: Place, make_place: Callable[..., Place], s3_server: Callable[[str], S3Server]
) -> None:
    server = s3_server("ministack")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        place = make_place(store="s3://bucket/sweeps-of-tests", environment=server.environment())
        place.run("sweep", "launch", "./sweep.yaml", "--name", "calm")
        assert tale(check_sweep(place, "calm")) == tale(calm.state("calm"))
        number = calm.state("calm").best()[0].number
        mine = outcome(open_store(place.environment["RUNNER_STORE"]), f"calm-{number:04d}")
        assert_same(mine, outcome(calm.store, f"calm-{number:04d}"))
