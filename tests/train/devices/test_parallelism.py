"""The same step on whatever devices there are: shared, cut smaller, and never continued by processes that cannot."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.recipe import Data, DataSource, Method, Recipe
from runner.recipe.strategy import is_sharded
from runner.train.agent.preemption import CannotResumeHere
from runner.train.devices.parallelism import (
    add_random_states,
    check_processes,
    drop_deepspeed_if_done,
    split_step,
)


def recipe(method: Method = "sft", **training: Any) -> Recipe:
    return Recipe(
        name="x",
        method=method,
        model={"model_name_or_path": "builtin:tiny-llama"},
        data=Data(train=(DataSource(path="builtin:python-docstrings"),)),
        training=training,
    )


def adapted(what: Recipe, world_size: int, split: list[int] | None = None) -> Recipe:
    return split_step(what, world_size, split=split, pin_memory=False)


def batch(what: Recipe) -> tuple[int, int]:
    return what.training["per_device_train_batch_size"], what.training["gradient_accumulation_steps"]


def test_the_effective_batch_is_shared_and_stays() -> None:
    for world_size, expected in ((1, (8, 2)), (2, (8, 1)), (4, (4, 1))):
        assert batch(adapted(recipe(effective_batch_size=16), world_size)) == expected
    with pytest.raises(UserError, match="devices = 3"):
        adapted(recipe(effective_batch_size=16), 3)


def test_what_memory_allowed_once_is_kept_on_every_device_count() -> None:
    what = recipe(effective_batch_size=16)
    assert batch(adapted(what, 1, [2, 8])) == (2, 8)
    assert batch(adapted(what, 4, [2, 8])) == (2, 2)
    assert batch(adapted(what, 8, [4, 4])) == (2, 1), "what is small enough stays"
    grpo = adapted(recipe("grpo", effective_batch_size=16, steps_per_generation=2), 1, [2, 8])
    assert grpo.training["steps_per_generation"] == 8, "as many completions at once as before"


def test_a_strategy_becomes_deepspeeds_configuration() -> None:
    assert not is_sharded(adapted(recipe(), 2).training)
    assert not is_sharded(adapted(recipe(strategy="ddp"), 2).training)
    offload = adapted(recipe(strategy="zero3_offload"), 1).training["deepspeed"]
    assert offload["zero_optimization"]["stage"] == 3
    assert offload["zero_optimization"]["offload_param"] == {"device": "cpu", "pin_memory": False}
    assert "train_batch_size" not in offload
    own = {"zero_optimization": {"stage": 1}}
    assert adapted(recipe(deepspeed=own), 2).training["deepspeed"] == own


def saved(folder: Path, **state: Any) -> Path:
    (folder / "runner_state.json").write_text(json.dumps({"stage": "sft", "complete": False, **state}))
    return folder


@pytest.mark.parametrize(
    ("before", "now", "training", "refusal"),
    [
        ((2, 0), 2, {}, None),
        ((2, 0), 1, {"effective_batch_size": 8}, None),
        ((1, 0), 4, {"effective_batch_size": 8}, None),
        ((2, 0), 1, {}, "no effective_batch_size"),
        ((2, 2), 2, {"strategy": "zero2"}, None),
        ((2, 2), 1, {"strategy": "zero2", "effective_batch_size": 8}, "2 training processes with ZeRO-2"),
        ((2, 2), 2, {"strategy": "zero3"}, "there are 2 with ZeRO-3"),
        ((2, 0), 2, {"strategy": "zero2"}, "there are 2 with ZeRO-2"),
    ],
)
def test_only_processes_that_can_go_on_do(
    tmp_path: Path, before: tuple[int, int], now: int, training: dict[str, Any], refusal: str | None
) -> None:
    what = recipe(**training)
    folder = saved(tmp_path, world_size=before[0], zero_stage=before[1])
    if refusal is None:
        check_processes(folder, what, adapted(what, now), now)
    else:
        with pytest.raises(CannotResumeHere, match=refusal):
            check_processes(folder, what, adapted(what, now), now)
    saved(tmp_path, world_size=before[0], zero_stage=before[1], complete=True)
    check_processes(folder, what, adapted(what, now), now)  # what is left needs no state


def test_completions_stay_with_those_who_made_them(tmp_path: Path) -> None:
    what = recipe("grpo", effective_batch_size=8)
    with pytest.raises(CannotResumeHere, match="generated ahead"):
        check_processes(saved(tmp_path, stage="grpo", world_size=2), what, adapted(what, 1), 1)


def test_after_training_zero2_leaves_a_model_like_any_other(tmp_path: Path) -> None:
    for strategy, left in (("zero2", False), ("zero3", True)):
        what = adapted(recipe(strategy=strategy), 2)
        assert is_sharded(drop_deepspeed_if_done(saved(tmp_path, complete=True), what).training) is left
        assert is_sharded(drop_deepspeed_if_done(saved(tmp_path, complete=False), what).training)


def test_a_process_that_was_not_there_takes_the_random_streams_of_one_that_was(tmp_path: Path) -> None:
    folder = saved(tmp_path, world_size=2)
    for rank in range(2):
        (folder / f"rng_state_{rank}.pth").write_text(f"streams of {rank}")
    for rank in range(4):
        add_random_states(folder, rank, 4)
    assert [(folder / f"rng_state_{rank}.pth").read_text() for rank in range(4)] == [
        f"streams of {rank % 2}" for rank in range(4)
    ]
    add_random_states(folder, 0, 1)
    assert (folder / "rng_state.pth").read_text() == "streams of 0"
