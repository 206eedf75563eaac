"""People name a checkpoint by its step, or as the last or the best; what cannot be a model is refused with a reason."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.runs.attempts import claim_attempt, write_restored
from runner.runs.checkpoints.choice import choose_checkpoint, is_model_file, short_name
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.storage.commit import commit
from runner.storage.open import open_store
from runner.storage.store import Store

Save = Callable[..., CheckpointName]
WEIGHTS = "model.safetensors"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in a folder: what is chosen does not depend on the kind of store."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def save(store: Store, tmp_path: Path) -> Save:
    """Commit a checkpoint of the run's only attempt."""
    claim = claim_attempt(store, "run", {"host": "here"})
    write_restored(store, claim, None, stages=["sft", "dpo"])

    def saved(
        step: int, stage: str = "sft", *, files: tuple[str, ...] = (WEIGHTS,), **metadata: object
    ) -> CheckpointName:
        name = CheckpointName(stage, step, claim.token)
        path = tmp_path / "file"
        path.write_text(f"{stage} {step}")
        commit(store, checkpoint_prefix("run", name), dict.fromkeys(files, path), metadata)
        return name

    return saved


def test_the_last_the_best_and_any_step_are_found(store: Store, save: Save) -> None:
    first, second, third = save(10), save(20), save(30, best={"step": 20, "value": 0.5})
    assert choose_checkpoint(store, "run", "last") == third
    assert choose_checkpoint(store, "run", "best") == second
    for text in ("10", "sft-10", "sft-000010", str(first)):
        assert choose_checkpoint(store, "run", text) == first
    assert short_name(first) == "sft-000010"


def test_a_step_of_more_than_one_stage_needs_its_stage(store: Store, save: Save) -> None:
    sft, dpo = save(10), save(10, "dpo")
    assert choose_checkpoint(store, "run", "last") == dpo
    with pytest.raises(UserError, match="more than one stage has a step 10") as caught:
        choose_checkpoint(store, "run", "10")
    assert caught.value.remedy == "write one of dpo-10, sft-10"
    assert choose_checkpoint(store, "run", "sft-10") == sft


@pytest.mark.parametrize("text", ["30", "dpo-10", "../../x", "", "-10", "\uff11\uff10", "9" * 30, "newest"])
def test_what_is_not_there_is_refused_with_what_is(store: Store, save: Save, text: str) -> None:
    save(10), save(20)
    with pytest.raises(UserError, match="has no checkpoint") as caught:
        choose_checkpoint(store, "run", text)
    assert caught.value.remedy == "it has sft-20, sft-10; or write `last`"


def test_a_run_without_any_says_so(store: Store) -> None:
    with pytest.raises(UserError, match="the run has no checkpoint"):
        choose_checkpoint(store, "run", "last")


def test_a_best_that_is_not_tracked_is_said(store: Store, save: Save) -> None:
    save(10, best=None)
    with pytest.raises(UserError, match="tracks no best checkpoint"):
        choose_checkpoint(store, "run", "best")


def test_a_damaged_one_is_passed_over_as_the_last_and_refused_by_name(store: Store, save: Save) -> None:
    good, damaged = save(10), save(20)
    store.delete([checkpoint_prefix("run", damaged) + WEIGHTS])
    assert choose_checkpoint(store, "run", "last") == good
    with pytest.raises(UserError, match="checkpoint sft-20 is damaged in the store"):
        choose_checkpoint(store, "run", "20")


def test_one_that_is_split_over_gpus_is_refused_with_the_way_out(store: Store, save: Save) -> None:
    whole = save(10)
    save(20, files=("global_step20/zero_pp_rank_0_mp_rank_00_optim_states.pt",))
    with pytest.raises(UserError, match="holds no whole weights: ZeRO has split them"):
        choose_checkpoint(store, "run", "20")
    assert choose_checkpoint(store, "run", "last") == whole


def test_what_only_training_needs_is_not_part_of_a_model() -> None:
    names = ["model.safetensors", "config.json", "optimizer.pt", "rng_state.pth", "trainer_state.json", "scheduler.pt"]
    assert [name for name in names if is_model_file(name)] == ["model.safetensors", "config.json"]
