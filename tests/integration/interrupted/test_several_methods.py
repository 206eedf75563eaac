"""Several training processes, whatever the method: a run of which one process dies ends as if nothing had happened."""

from dataclasses import replace
from pathlib import Path

import pytest

from runner.recipe.recipe import Recipe
from runner.storage.open import open_store
from support.forked import Attempts, Moment
from support.method_recipes import DPO_STEP, METHODS
from support.runs import assert_same, assert_survives, submit
from support.stage_recipes import STAGED, staged_outcome


def shared(what: Recipe, strategy: str) -> Recipe:
    """The same run, each of whose batches is shared."""
    if what.stages:
        return replace(what, stages=tuple(shared(stage, strategy) for stage in what.stages))
    return replace(what, training={**what.training, "strategy": strategy})


STRATEGIES = {"cpt": "zero2", "dpo": "zero3", "dpo-lora": "ddp", "grpo-lora": "ddp"}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_method_goes_on_after_one_of_two_processes_has_died(kind: str, pair: Attempts, data: Path) -> None:
    make, step = METHODS[kind]
    assert_survives(pair, kind, shared(make(data), STRATEGIES[kind]), Moment(step, 9, rank=1))


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "strategy"), [("one-adapter", "ddp"), ("of-all-kinds", "zero2")])
def test_stages_follow_one_another_in_both(kind: str, strategy: str, pair: Attempts, data: Path) -> None:
    """Also where one merges what the one before has trained; killed in the last."""
    store = open_store(pair.store_url)
    what = shared(STAGED[kind](data), strategy)
    submit(store, kind, what)
    assert pair.run(kind) == 0, pair.log(kind)
    submit(store, f"{kind}-killed", what)
    moment = Moment(DPO_STEP, 7, rank=1)
    assert pair.run(f"{kind}-killed", moment) == 75, pair.log(f"{kind}-killed")
    pair.run_to_the_end(f"{kind}-killed")
    assert_same(staged_outcome(store, f"{kind}-killed"), staged_outcome(store, kind))
