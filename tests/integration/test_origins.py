"""Runs that come from other runs: extended, started from a model, and made again."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.control.recipes.warm_start import find_start
from runner.control.results.extend import ExtendOptions, plan_extension
from runner.control.results.reproduce import compare_reproduction
from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.runs.checkpoints.origins import first_start
from runner.runs.layout import run_key
from runner.runs.record_types.run import RunLineage
from runner.runs.records import run_document, run_result
from runner.storage.open import open_store
from runner.storage.store import Store
from support.forked import Attempts, Moment
from support.runs import outcome, recipe, submit

_STEP = "runner.train.methods.sft:ResumableSFTTrainer.training_step"


def finish(forked: Attempts, run_id: str, what: Recipe, **fields: Any) -> Store:
    store = open_store(forked.store_url)
    submit(store, run_id, what, **fields)
    assert forked.run(run_id) == 0, forked.log(run_id)
    return store


def extended(store: Store, run_id: str, name: str, **options: Any) -> RunLineage:
    plan = plan_extension(store, run_document(store, run_id), ExtendOptions(**options))
    submit(store, name, Recipe.from_mapping(plan.recipe), lineage=plan.lineage)
    return plan.lineage


def test_an_extended_run_that_is_killed_ends_as_one_that_was_longer_from_the_start(
    forked: Attempts, data: Path
) -> None:
    constant = {"lr_scheduler_type": "constant"}
    store = finish(forked, "short", recipe(data, adapter=True, max_steps=6, **constant))
    finish(forked, "long", recipe(data, adapter=True, **constant))
    lineage = extended(store, "short", "more", steps=6)
    assert (lineage["step"], lineage.get("learning_rate")) == (6, 2e-3)
    assert forked.run("more", Moment(_STEP, nth=2)) == 75, forked.log("more")  # before its first checkpoint
    assert forked.run("more", Moment(_STEP, nth=9, saves=1)) == 75, forked.log("more")
    assert forked.run("more") == 0, forked.log("more")
    more, long = outcome(store, "more"), outcome(store, "long")
    assert more["weights"] == long["weights"]
    assert more["metrics"] == [
        one for one in long["metrics"] if one["step"] > 6 or (one["kind"] == "eval" and one["phase"] == "after")
    ]
    for name in ("after", "best", "step", "max_steps"):
        assert more[name] == long[name], name
    assert more["best"]["step"] <= 6, "the best model is the other run's"


def test_the_schedule_of_an_extension_is_constant_above_zero_or_begins_again(forked: Attempts, data: Path) -> None:
    linear = recipe(data, adapter=True, max_steps=4, eval_steps=2, lr_scheduler_type="linear", warmup_steps=2)
    store = finish(forked, "linear", linear)
    extended(store, "linear", "flat", steps=4)
    extended(store, "linear", "warm", steps=4, schedule="rewarm")
    rates = {}
    for name in ("linear", "flat", "warm"):
        if name != "linear":
            assert forked.run(name) == 0, forked.log(name)
        rates[name] = [one["learning_rate"] for one in outcome(store, name)["metrics"] if one["kind"] == "train"]
    assert rates["flat"] == [max(rates["linear"][-1], 2e-4)] * 4
    assert rates["warm"] == rates["linear"], "the same schedule once more"


@pytest.mark.parametrize("same_adapter", [True, False])
def test_a_warm_start_goes_on_with_the_same_adapter_and_merges_another(
    forked: Attempts, data: Path, same_adapter: bool
) -> None:
    source = "adapted" if same_adapter else "merged-from"
    store = finish(forked, source, recipe(data, adapter=True, max_steps=4, load_best_model_at_end=False))
    start = find_start(store, source, "last")
    what = recipe(data, adapter=same_adapter, max_steps=4).to_mapping()
    what["model"] |= {"run": start.run_id, "checkpoint": start.checkpoint}
    lineage = {"kind": "warm_start", "run_id": source, "checkpoint": start.checkpoint, "digest": start.digest}
    name = f"{source}-on"
    submit(store, name, Recipe.from_mapping(what), lineage=lineage)
    assert forked.run(name, Moment(_STEP, nth=3)) == 75, forked.log(name)
    made = first_start(store, name)
    assert (made["adapter"] is not None, made["base"] is not None) == (same_adapter, not same_adapter)
    for key in [info.key for info in store.objects(run_key(source, "checkpoints/"))]:
        store.delete([key])  # it has its own copy by now
    assert forked.run(name) == 0, forked.log(name)
    began, ended = outcome(store, name)["before"], outcome(store, source)["after"]
    assert began["eval_loss"] == pytest.approx(ended["eval_loss"], rel=1e-5)


def test_a_warm_start_from_other_weights_than_at_the_launch_is_refused(forked: Attempts, data: Path) -> None:
    store = finish(forked, "altered", recipe(data, adapter=False, max_steps=2, eval_steps=2))
    start = find_start(store, "altered", None)
    what = recipe(data, adapter=False, max_steps=2, eval_steps=2).to_mapping()
    what["model"]["run"] = "altered"
    lineage = {"kind": "warm_start", "run_id": "altered", "checkpoint": None, "digest": "0" * 64}
    submit(store, "altered-on", Recipe.from_mapping(what), lineage=lineage)
    assert start.digest != "0" * 64
    assert forked.run("altered-on") != 0
    assert "it is not what it was when the run was launched" in forked.log("altered-on")


def test_two_runs_of_one_recipe_are_identical_and_another_seed_is_named_with_its_first_step(
    forked: Attempts, data: Path
) -> None:
    small = {"max_steps": 2, "eval_steps": 2}
    store = finish(forked, "one", recipe(data, adapter=True, **small))
    finish(forked, "two", recipe(data, adapter=True, **small))
    finish(forked, "three", recipe(data, adapter=True, **{**small, "learning_rate": 1e-3}))
    same, other = (compare_reproduction(store, "one", name) for name in ("two", "three"))
    assert same.identical, same.sentences()
    assert (same.losses, same.artifacts["model"]) == (2, "identical")
    assert not other.identical
    assert other.first is not None
    assert other.first.step == 1
    assert other.differences["settings"]["training.learning_rate"] == (2e-3, 1e-3)
    assert json.dumps(other.as_json())


def test_a_run_that_has_not_ended_is_not_extended(forked: Attempts, data: Path) -> None:
    store = open_store(forked.store_url)
    submit(store, "waiting", recipe(data, adapter=True))
    assert run_result(store, "waiting") is None
    with pytest.raises(UserError, match="the run has not ended"):
        plan_extension(store, run_document(store, "waiting"), ExtendOptions(steps=1))


def test_an_extension_keeps_what_its_stages_and_its_warm_start_began_with(forked: Attempts, data: Path) -> None:
    store = finish(forked, "base", recipe(data, adapter=True, max_steps=2, eval_steps=2))
    start = find_start(store, "base", None)
    small = {"max_steps": 2, "eval_steps": 2}
    first, second = (recipe(data, adapter=adapter, **small).to_mapping() for adapter in (False, True))
    for stage, name in ((first, "first"), (second, "second")):
        stage["stage"] = name
        stage["model"] |= {"run": "base"}
    whole = {**first, "stage": None, "stages": [first, second]}
    lineage = {"kind": "warm_start", "run_id": "base", "checkpoint": None, "digest": start.digest}
    finish(forked, "staged", Recipe.from_mapping(whole), lineage=lineage)
    extended(store, "staged", "staged-more", steps=2)
    assert forked.run("staged-more", Moment(_STEP, nth=3)) == 75, forked.log("staged-more")
    store.delete([info.key for info in store.objects("runs/base/")])
    assert forked.run("staged-more") == 0, forked.log("staged-more")
    result = run_result(store, "staged-more")
    assert result is not None
    assert set(result["artifacts"]) == {"stage-first", "model"}
    prefixes = [run_key("staged-more", key) for key in result["artifacts"].values()]
    assert all(list(store.objects(prefix)) for prefix in prefixes)
    assert result["stages"][-1]["started_from"]["base"] == result["artifacts"]["stage-first"]
