"""Several training processes, whatever the method: a run of which one process dies ends as if nothing had happened."""

from dataclasses import replace
from pathlib import Path

import pytest

from integration import test_methods, test_stages
from integration.test_stages import whole_outcome
from runner.recipe.recipe import Recipe
from runner.storage.open import open_store
from support.forked import Attempts, Moment
from support.runs import assert_same, check_metrics, outcome, submit


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    """Attempts of two training processes each."""
    folder = tmp_path_factory.mktemp("pairs")
    return Attempts(str(folder / "store"), folder, {"RUNNER_PROCESSES": "2", "DS_ACCELERATOR": "cpu"})


def shared(what: Recipe, strategy: str) -> Recipe:
    """The same run, each of whose batches is shared."""
    if what.stages:
        return replace(what, stages=tuple(shared(stage, strategy) for stage in what.stages))
    return replace(what, training={**what.training, "strategy": strategy})


METHODS = {
    "cpt": ("zero2", "runner.train.methods.sft:ResumableSFTTrainer.training_step"),
    "dpo": ("zero3", "runner.train.methods.dpo:ResumableDPOTrainer.training_step"),
    "dpo-lora": ("ddp", "runner.train.methods.dpo:ResumableDPOTrainer.training_step"),
    "grpo-lora": ("ddp", "runner.train.methods.grpo:ResumableGRPOTrainer.training_step"),
}


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_goes_on_after_one_of_two_processes_has_died(kind: str, pair: Attempts, data: Path) -> None:
    strategy, step = METHODS[kind]
    store = open_store(pair.store_url)
    what = shared(test_methods.RUNS[kind](data), strategy)
    submit(store, kind, what)
    assert pair.run(kind) == 0, pair.log(kind)
    expected = outcome(store, kind)
    check_metrics(expected["metrics"], steps=expected["step"])
    submit(store, f"{kind}-killed", what)
    assert pair.run(f"{kind}-killed", Moment(step, 9, rank=1)) == 75, pair.log(f"{kind}-killed")
    pair.run_to_the_end(f"{kind}-killed")
    assert_same(outcome(store, f"{kind}-killed"), expected)


@pytest.mark.parametrize(("kind", "strategy"), [("one-adapter", "ddp"), ("of-all-kinds", "zero2")])
def test_stages_follow_one_another_in_both(kind: str, strategy: str, pair: Attempts, data: Path) -> None:
    """Also where one merges what the one before has trained; killed in the last."""
    store = open_store(pair.store_url)
    what = shared(test_stages.RUNS[kind](data), strategy)
    submit(store, kind, what)
    assert pair.run(kind) == 0, pair.log(kind)
    submit(store, f"{kind}-killed", what)
    moment = Moment("runner.train.methods.dpo:ResumableDPOTrainer.training_step", 7, rank=1)
    assert pair.run(f"{kind}-killed", moment) == 75, pair.log(f"{kind}-killed")
    pair.run_to_the_end(f"{kind}-killed")
    assert_same(whole_outcome(store, f"{kind}-killed"), whole_outcome(store, kind))
