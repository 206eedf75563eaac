"""A run of several stages that is killed in a later one, or between two, ends as if it had not been."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from integration.test_methods import PREFERENCE, TEXT, on
from runner.recipe.recipe import Checkpoint, Recipe
from runner.runs.layout import run_key
from runner.runs.lineage import checkpoints
from runner.storage.open import open_store
from runner.storage.store import Store
from support.forked import Attempts, Moment
from support.runs import assert_same, outcome, recipe, submit

STEPS = 4
SAVED = Checkpoint(save_steps=2, save_minutes=None, save_total_limit=1)


def staged(*stages: Recipe) -> Recipe:
    """One run of these."""
    return replace(stages[0], stage=None, stages=stages)


def stage(name: str, data: Path, method: Any, adapter: dict[str, Any] | None, **training: Any) -> Recipe:
    """Four steps with an evaluation in their middle, and a checkpoint after two."""
    what = recipe(data, adapter=False, max_steps=STEPS, eval_steps=2, early_stopping_patience=None, **training)
    template = {"cpt": TEXT, "dpo": PREFERENCE}.get(method)
    return replace(
        what,
        stage=name,
        method=method,
        adapter=adapter,
        data=what.data if template is None else on(data, template),
        checkpoint=SAVED,
        evaluate=replace(what.evaluate, prompts=("Return the",), max_new_tokens=2),
    )


LORA = {"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"}


def one_adapter(data: Path) -> Recipe:
    """Text, answers, preferences: one adapter goes through all; stages are named against the alphabet."""
    return staged(
        stage("reads", data, "cpt", LORA),
        stage("answers", data, "sft", LORA, load_best_model_at_end=False),
        stage("b_prefers", data, "dpo", LORA, max_length=96, learning_rate=1e-3),
    )


def of_all_kinds(data: Path) -> Recipe:
    """All weights, an adapter on those, and another on the two of them merged."""
    return staged(
        stage("z", data, "sft", None),
        stage("y", data, "sft", LORA),
        stage("x", data, "dpo", {**LORA, "r": 8}, max_length=96, learning_rate=1e-3),
    )


RUNS = {"one-adapter": one_adapter, "of-all-kinds": of_all_kinds}


def whole_outcome(store: Store, run_id: str) -> dict[str, Any]:
    """What must not depend on kills: of all stages."""
    ended = outcome(store, run_id)
    result = json.loads(store.get(run_key(run_id, "result.json")))
    for each in result["stages"]:
        del each["artifacts"]  # their keys hold attempts' tokens
        each["started_from"] = {name: key and key.split("/")[1] for name, key in each["started_from"].items()}
        for phase in ("before", "after"):
            del each[phase]["samples_per_second"]
    return {**ended, "stages": result["stages"]}


@pytest.fixture(scope="module", params=RUNS)
def undisturbed(request: pytest.FixtureRequest, forked: Attempts, data: Path) -> tuple[str, dict[str, Any]]:
    """How the run ends that nobody kills."""
    store = open_store(forked.store_url)
    kind: str = request.param
    if kind not in store.folders("runs/"):  # pytest asks again when tests go back to a kind
        submit(store, kind, RUNS[kind](data))
        assert forked.run(kind) == 0, forked.log(kind)
    return kind, whole_outcome(store, kind)


MOMENTS = {
    # at a boundary: before the stage's weights are handed over, after it, and when the next one loads
    "handing over": ("one-adapter", Moment("runner.runs.artifacts:commit")),
    "handed over": ("of-all-kinds", Moment("runner.runs.artifacts:commit", 2, after=True)),
    "loading": ("one-adapter", Moment("runner.train.stages.steps:load_model", 2)),
    # in the last stage: before its first checkpoint, after it, and at the very end
    "beginning": ("of-all-kinds", Moment("runner.train.methods.dpo:ResumableDPOTrainer.training_step", 2)),
    "training": ("one-adapter", Moment("runner.train.methods.dpo:ResumableDPOTrainer.training_step", 7)),
    "ending": ("of-all-kinds", Moment("runner.train.methods.dpo:ResumableDPOTrainer.load_weights")),
}


@pytest.mark.parametrize(("undisturbed", "moment"), MOMENTS.values(), ids=MOMENTS, indirect=["undisturbed"])
def test_killed_at_this_moment_it_ends_the_same(
    moment: Moment, undisturbed: tuple[str, dict[str, Any]], forked: Attempts, data: Path
) -> None:
    kind, expected = undisturbed
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}".lower()
    submit(store, run_id, RUNS[kind](data))
    assert forked.run(run_id, moment) == 75, forked.log(run_id)
    assert checkpoints(store, run_id), "it goes on from somewhere"
    forked.run_to_the_end(run_id)
    assert_same(whole_outcome(store, run_id), expected)


@pytest.mark.parametrize("undisturbed", ["of-all-kinds"], indirect=True)
def test_told_to_stop_in_a_later_stage_it_goes_on_inside_it(
    undisturbed: tuple[str, dict[str, Any]], forked: Attempts, data: Path
) -> None:
    """On a machine that has nothing of the run: what the stage began with is found in the store."""
    kind, expected = undisturbed
    store = open_store(forked.store_url)
    run_id = f"{kind}-told"
    what = RUNS[kind](data)
    submit(store, run_id, what)
    moment = Moment("runner.train.methods.dpo:ResumableDPOTrainer.training_step", 5, signal=signal.SIGTERM)
    assert forked.run(run_id, moment) == 75, forked.log(run_id)
    newest = checkpoints(store, run_id)[0]
    assert (newest.stage, newest.step) == (what.stages[2].stage, 3), "the newest is the last stage's"
    forked.run_to_the_end(run_id)
    assert f"continues from step 3 of stage {newest.stage}" in forked.log(run_id)
    assert forked.log(run_id).count("stage 1 of 3") == 1
    assert_same(whole_outcome(store, run_id), expected)


def test_each_stage_has_its_steps_and_its_measures(undisturbed: tuple[str, dict[str, Any]]) -> None:
    """One record for each step and stage, in the recipe's order; before and after of each."""
    kind, ended = undisturbed
    names = [each["stage"] for each in ended["stages"]]
    trained = [(record["stage"], record["step"]) for record in ended["metrics"] if record["kind"] == "train"]
    assert trained == [(name, step) for name in names for step in range(1, STEPS + 1)]
    for name, each in zip(names, ended["stages"], strict=True):
        phases = [record["phase"] for record in ended["metrics"] if (record["stage"], record["kind"]) == (name, "eval")]
        assert phases == ["before", "during", "during", "after"]
        assert each["before"]["eval_loss"] != each["after"]["eval_loss"]
        assert [shown["prompt"] for shown in each["generations"]] == ["Return the"]
    assert ended["before"] == ended["stages"][2]["before"]
    began = [each["started_from"] for each in ended["stages"]]
    first, second = f"stage-{names[0]}", f"stage-{names[1]}"
    assert (
        began
        == {
            "one-adapter": [
                {"base": None, "adapter": None},
                {"base": None, "adapter": first},
                {"base": None, "adapter": second},
            ],
            "of-all-kinds": [
                {"base": None, "adapter": None},
                {"base": first, "adapter": None},
                {"base": second, "adapter": None},
            ],
        }[kind]
    )


def test_the_reference_of_preferences_is_what_the_stage_began_with(undisturbed: tuple[str, dict[str, Any]]) -> None:
    """So that nothing is preferred at first; the bare base would be far away from two trained stages."""
    _, ended = undisturbed
    prefers = ended["stages"][2]
    assert prefers["before"]["eval_rewards/margins"] == 0
    assert prefers["before"]["eval_loss"] == pytest.approx(0.6931, abs=1e-3), "log 2, where policy and reference agree"
    assert prefers["after"]["eval_rewards/margins"] > 0


def test_weights_pass_on_exactly(undisturbed: tuple[str, dict[str, Any]], forked: Attempts) -> None:
    """Whatever a stage is measured at before its first step was measured at the end of the one before, on like data."""
    kind, ended = undisturbed
    reads, answers, _ = ended["stages"]
    assert reads["generations"][0]["after"] == answers["generations"][0]["before"]
    store = open_store(forked.store_url)
    result = json.loads(store.get(run_key(kind, "result.json")))
    assert set(result["artifacts"]) == {f"stage-{reads['stage']}", f"stage-{answers['stage']}", "model"}
    prefix = Path(forked.store_url) / run_key(kind, result["artifacts"]["model"])
    assert {path.name for path in prefix.iterdir() if path.is_dir()} == set(), "no copy of the reference"
    final = load_file(prefix / "adapter_model.safetensors")
    if kind == "one-adapter":
        assert answers["after"] is not None
        start = Path(forked.store_url) / run_key(kind, result["artifacts"][f"stage-{answers['stage']}"])
        before = load_file(start / "adapter_model.safetensors")
        assert before.keys() == final.keys()
        assert any(not torch.equal(before[name], final[name]) for name in final)
