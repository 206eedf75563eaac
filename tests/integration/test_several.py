"""Several training processes: whatever happens to one of them, the run ends as if nothing had happened."""

from pathlib import Path
from typing import Any

import pytest

from integration.forked import Attempts, Moment
from integration.runs import assert_same, check_metrics, outcome, recipe, submit
from runner.spec.recipe import Recipe
from runner.storage.lineage import checkpoints
from runner.storage.open import open_store

STRATEGIES = ["ddp", "zero2", "zero3"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    """Attempts of two training processes each."""
    folder = tmp_path_factory.mktemp("pairs")
    return Attempts(str(folder / "store"), folder, {"RUNNER_PROCESSES": "2", "DS_ACCELERATOR": "cpu"})


def shared(data: Path, strategy: str, **training: Any) -> Recipe:
    """The run of the other tests, with a batch that is shared; with an adapter and dropout where it is ZeRO-2."""
    return recipe(data, adapter=strategy == "zero2", strategy=strategy, **training)


@pytest.fixture(scope="module", params=STRATEGIES)
def undisturbed(request: pytest.FixtureRequest, pair: Attempts, data: Path) -> tuple[str, dict[str, Any]]:
    """How the run ends that nobody kills."""
    store = open_store(pair.store_url)
    strategy: str = request.param
    submit(store, strategy, shared(data, strategy))
    assert pair.run(strategy) == 0, pair.log(strategy)
    ended = outcome(store, strategy)
    check_metrics(ended["metrics"])
    return strategy, ended


@pytest.mark.parametrize(
    "moment",
    [
        Moment("runner.train.sft:ExactSFTTrainer.training_step", 16, rank=1),
        Moment("torch.optim:AdamW.step", 8, rank=None),
        Moment("runner.train.course:save_model", after=True),
    ],
    ids=lambda moment: f"{moment}-{moment.rank}",
)
def test_killed_at_this_moment_it_ends_the_same(
    moment: Moment, undisturbed: tuple[str, dict[str, Any]], pair: Attempts, data: Path
) -> None:
    strategy, expected = undisturbed
    store = open_store(pair.store_url)
    run_id = f"{strategy}-{moment}-{moment.rank}".lower()
    submit(store, run_id, shared(data, strategy))
    assert pair.run(run_id, moment) == 75, pair.log(run_id)
    assert checkpoints(store, run_id), "it goes on from somewhere"
    pair.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), expected)
