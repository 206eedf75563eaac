"""A run that its owner ends early keeps the model that it has; a checkpoint of any run is as good as a model."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.recipe.recipe import Export
from runner.runs.checkpoints.choice import choose_checkpoint
from runner.runs.layout import run_key
from runner.runs.records import run_result, write_cancel_request
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.train.agent.events import Events
from runner.train.run_eval import evaluate
from runner.train.run_export import export_run
from support.forked import Attempts, Moment
from support.runs import STEPS, recipe, submit
from support.stage_recipes import one_adapter

SFT_STEP = "runner.train.methods.sft:ResumableSFTTrainer.training_step"


def ask(store: Store, run_id: str) -> None:
    """What `runner cancel --keep-model` writes."""
    write_cancel_request(store, run_id, {"requested_at": "now", "host": "here", "pid": 1}, keep_model=True)


def measured(store: Store, run_id: str, forked: Attempts, folder: Path, **arguments: Any) -> dict[str, Any]:
    """`runner eval` in this process, with one thread as the run had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    nobody = os.open(os.devnull, os.O_WRONLY)
    try:
        cache = forked.folder / "cache" / "runner"
        found = evaluate(store, run_id, work_dir=folder, cache_dir=cache, events=Events(nobody), **arguments)
    finally:
        os.close(nobody)
        torch.set_num_threads(threads)
    return {key: value for key, value in found["after"].items() if key != "samples_per_second"}


@pytest.mark.parametrize(
    "adapter", [pytest.param(False, id="full", marks=pytest.mark.thorough), pytest.param(True, id="lora")]
)
def test_it_ends_at_the_next_step_with_a_model_that_was_measured(
    forked: Attempts, data: Path, tmp_path: Path, adapter: bool
) -> None:
    store = open_store(forked.store_url)
    run_id = f"kept-{adapter}".lower()
    submit(store, run_id, recipe(data, adapter=adapter, load_best_model_at_end=False))
    ask(store, run_id)
    assert forked.run(run_id) == 1, forked.log(run_id)
    result = run_result(store, run_id)
    assert result is not None
    assert result["state"] == "cancelled"
    assert 1 <= result["step"] < STEPS, "not after all steps"
    assert (
        result["reason"]
        == f"ended at step {result['step']} of {STEPS} by `runner cancel --keep-model`; its model is kept"
    )
    after = {key: value for key, value in result["after"].items() if key != "samples_per_second"}
    assert measured(store, run_id, forked, tmp_path) == after


@pytest.mark.thorough
def test_killed_at_its_end_it_ends_the_same(forked: Attempts, data: Path) -> None:
    """The next attempt neither trains on nor forgets that it was ended."""
    store = open_store(forked.store_url)
    submit(store, "kept-killed", recipe(data, adapter=True, load_best_model_at_end=False))
    ask(store, "kept-killed")
    end = Moment("runner.train.agent.head_attempt:HeadAttempt._write_result", in_attempt=True)
    assert forked.run("kept-killed", end) == -9, forked.log("kept-killed")
    step = choose_checkpoint(store, "kept-killed", "last").step
    assert forked.run("kept-killed") == 1, forked.log("kept-killed")
    result = run_result(store, "kept-killed")
    assert result is not None
    assert (result["state"], result["step"], "model" in result["artifacts"]) == ("cancelled", step, True)


@pytest.mark.thorough
def test_of_several_stages_the_one_that_it_is_in_makes_the_model(forked: Attempts, data: Path, tmp_path: Path) -> None:
    store = open_store(forked.store_url)
    submit(store, "kept-stage", one_adapter(data))
    moment = Moment(SFT_STEP, 5, signal=signal.SIGTERM)
    assert forked.run("kept-stage", moment) == 75, forked.log("kept-stage")
    ask(store, "kept-stage")
    assert forked.run("kept-stage") == 1, forked.log("kept-stage")
    result = run_result(store, "kept-stage")
    assert result is not None
    assert [stage["stage"] for stage in result["stages"]] == ["reads", "answers"]
    assert "of stage answers by `runner cancel --keep-model`" in str(result["reason"])
    after = {key: value for key, value in result["stages"][-1]["after"].items() if key != "samples_per_second"}
    assert measured(store, "kept-stage", forked, tmp_path) == after


@pytest.mark.parametrize(
    "adapter", [pytest.param(False, id="full", marks=pytest.mark.thorough), pytest.param(True, id="lora")]
)
def test_a_checkpoint_of_an_interrupted_run_is_measured_and_made_a_model(
    forked: Attempts, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: bool
) -> None:
    """The model that is exported answers as the checkpoint; the run goes on as if nobody had looked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(forked.folder / "cache"))
    store = open_store(forked.store_url)
    run_id = f"looked-at-{adapter}".lower()
    submit(store, run_id, recipe(data, adapter=adapter, load_best_model_at_end=False))
    assert forked.run(run_id, Moment(SFT_STEP, 2 * 7, signal=signal.SIGTERM)) == 75, forked.log(run_id)
    name = choose_checkpoint(store, run_id, "6")
    made = export_run(store, run_id, Export(merge=adapter), folder=tmp_path / "export", checkpoint=name)
    suffix = f"-sft-{name.step:06d}"
    assert set(made) == {f"model{suffix}", *([f"merged{suffix}"] if adapter else [])}
    again = export_run(store, run_id, Export(), folder=tmp_path / "export", checkpoint=name)
    assert again == {f"model{suffix}": made[f"model{suffix}"]}, "made once"
    files = {info.key.rpartition("/")[2] for info in store.objects(run_key(run_id, made[f"model{suffix}"]))}
    assert {"tokenizer.json", "adapter_model.safetensors" if adapter else "model.safetensors"} <= files
    before = measured(store, run_id, forked, tmp_path / "eval", checkpoint=name)
    assert before["eval_loss"] > 0
    assert forked.run(run_id) == 0, forked.log(run_id)
