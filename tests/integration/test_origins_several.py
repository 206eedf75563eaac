"""Runs that come from other runs, trained by two processes each, one of which is evicted on the way."""

import signal
from pathlib import Path

import pytest

from runner.control.recipes.warm_start import find_start
from runner.control.results.extend import ExtendOptions, plan_extension
from runner.control.results.reproduce import compare_reproduction
from runner.recipe.recipe import Recipe
from runner.runs.attempts import attempts
from runner.runs.records import run_document
from runner.storage.open import open_store
from runner.storage.store import Store
from support.forked import Attempts, Moment
from support.method_recipes import SFT_STEP
from support.runs import outcome, recipe, submit

CONSTANT = {"lr_scheduler_type": "constant", "eval_steps": 2}


def evicted_and_ended(pair: Attempts, store: Store, run_id: str) -> None:
    """Run it to its end in two attempts: the second process is told to stop, as when a machine is reclaimed."""
    assert pair.run(run_id, Moment(SFT_STEP, 2, signal=signal.SIGTERM, rank=1)) == 75, pair.log(run_id)
    assert pair.run(run_id) == 0, pair.log(run_id)
    assert attempts(store, run_id)[1].restored is not None, "it goes on from what was saved then"


@pytest.mark.thorough
def test_an_extension_by_two_processes_ends_as_the_longer_run_and_is_reproduced(pair: Attempts, data: Path) -> None:
    store = open_store(pair.store_url)
    submit(store, "short", recipe(data, adapter=True, max_steps=4, **CONSTANT))
    evicted_and_ended(pair, store, "short")
    submit(store, "long", recipe(data, adapter=True, max_steps=8, **CONSTANT))
    assert pair.run("long") == 0, pair.log("long")
    plan = plan_extension(store, run_document(store, "short"), ExtendOptions(steps=4))
    for name in ("more", "more-again"):
        submit(store, name, Recipe.from_mapping(plan.recipe), lineage=plan.lineage)
    evicted_and_ended(pair, store, "more")
    assert outcome(store, "more")["weights"] == outcome(store, "long")["weights"]
    assert pair.run("more-again") == 0, pair.log("more-again")
    same = compare_reproduction(store, "more", "more-again")
    assert same.identical, same.sentences()
    assert same.losses == 4


@pytest.mark.thorough
def test_a_warm_start_by_two_processes_is_reproduced_bit_for_bit_after_an_eviction(pair: Attempts, data: Path) -> None:
    small = {"max_steps": 4, "eval_steps": 2}
    store = open_store(pair.store_url)
    submit(store, "source", recipe(data, adapter=True, **small))
    assert pair.run("source") == 0, pair.log("source")
    start = find_start(store, "source", None)
    what = recipe(data, adapter=True, **small).to_mapping()
    what["model"] |= {"run": "source"}
    lineage = {"kind": "warm_start", "run_id": "source", "checkpoint": start.checkpoint, "digest": start.digest}
    for name in ("on", "on-again"):
        submit(store, name, Recipe.from_mapping(what), lineage=lineage)
    evicted_and_ended(pair, store, "on")
    assert pair.run("on-again") == 0, pair.log("on-again")
    same = compare_reproduction(store, "on", "on-again")
    assert same.identical, same.sentences()
    began, ended = outcome(store, "on")["before"], outcome(store, "source")["after"]
    assert began["eval_loss"] == pytest.approx(ended["eval_loss"], rel=1e-5)
