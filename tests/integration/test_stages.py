"""A run of several stages that is killed in a later one, or between two, ends as if it had not been."""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import run_key
from runner.storage.open import open_store
from support.forked import Attempts, Moment
from support.method_recipes import DPO_STEP
from support.references import Reference, References
from support.runs import assert_same, submit
from support.stage_recipes import STAGE_STEPS, STAGED, staged_outcome
from support.thorough import cases


def undisturbed(references: References, data: Path, kind: str) -> Reference:
    """The run that nobody kills."""
    return references(STAGED[kind](data), read=staged_outcome)


MOMENTS = {
    # at a boundary: before the stage's weights are handed over, after it, and when the next one loads
    "handing over": ("one-adapter", Moment("runner.runs.artifacts:commit")),
    "handed over": ("of-all-kinds", Moment("runner.runs.artifacts:commit", 2, after=True)),
    "loading": ("one-adapter", Moment("runner.train.stages.steps:load_model", 2)),
    # in the last stage: before its first checkpoint, after it, and at the very end
    "beginning": ("of-all-kinds", Moment(DPO_STEP, 2)),
    "training": ("one-adapter", Moment(DPO_STEP, 7)),
    "ending": ("of-all-kinds", Moment("runner.train.methods.dpo:ResumableDPOTrainer.load_weights")),
}


@pytest.mark.parametrize("where", cases(MOMENTS, quick=lambda where: where in ("handed over", "training")))
def test_killed_at_this_moment_it_ends_the_same(
    where: str, references: References, forked: Attempts, data: Path
) -> None:
    kind, moment = MOMENTS[where]
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}".lower()
    submit(store, run_id, STAGED[kind](data))
    assert forked.run(run_id, moment) == 75, forked.log(run_id)
    assert checkpoints(store, run_id), "it goes on from somewhere"
    forked.run_to_the_end(run_id)
    assert_same(staged_outcome(store, run_id), undisturbed(references, data, kind).outcome)


def test_told_to_stop_in_a_later_stage_it_goes_on_inside_it(
    references: References, forked: Attempts, data: Path
) -> None:
    """On a machine that has nothing of the run: what the stage began with is found in the store."""
    kind = "of-all-kinds"
    store = open_store(forked.store_url)
    run_id = f"{kind}-told"
    what = STAGED[kind](data)
    submit(store, run_id, what)
    assert forked.run(run_id, Moment(DPO_STEP, 5, signal=signal.SIGTERM)) == 75, forked.log(run_id)
    newest = checkpoints(store, run_id)[0]
    assert (newest.stage, newest.step) == (what.stages[2].stage, 3), "the newest is the last stage's"
    forked.run_to_the_end(run_id)
    assert f"continues from step 3 of stage {newest.stage}" in forked.log(run_id)
    assert forked.log(run_id).count("stage 1 of 3") == 1
    assert_same(staged_outcome(store, run_id), undisturbed(references, data, kind).outcome)


@pytest.mark.parametrize("kind", STAGED)
def test_each_stage_has_its_steps_and_its_measures(kind: str, references: References, data: Path) -> None:
    """One record for each step and stage, in the recipe's order; before and after of each."""
    ended = undisturbed(references, data, kind).outcome
    names = [each["stage"] for each in ended["stages"]]
    trained = [(record["stage"], record["step"]) for record in ended["metrics"] if record["kind"] == "train"]
    assert trained == [(name, step) for name in names for step in range(1, STAGE_STEPS + 1)]
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


@pytest.mark.parametrize("kind", STAGED)
def test_the_reference_of_preferences_is_what_the_stage_began_with(
    kind: str, references: References, data: Path
) -> None:
    """So that nothing is preferred at first; the bare base would be far away from two trained stages."""
    prefers = undisturbed(references, data, kind).outcome["stages"][2]
    assert prefers["before"]["eval_rewards/margins"] == 0
    assert prefers["before"]["eval_loss"] == pytest.approx(0.6931, abs=1e-3), "log 2, where policy and reference agree"
    assert prefers["after"]["eval_rewards/margins"] > 0


@pytest.mark.parametrize("kind", STAGED)
def test_weights_pass_on_exactly(kind: str, references: References, data: Path) -> None:
    """Whatever a stage is measured at before its first step was measured at the end of the one before, on like data."""
    run = undisturbed(references, data, kind)
    reads, answers, _ = run.outcome["stages"]
    assert reads["generations"][0]["after"] == answers["generations"][0]["before"]
    store = open_store(run.attempts.store_url)
    result = json.loads(store.get(run_key(run.run_id, "result.json")))
    assert set(result["artifacts"]) == {f"stage-{reads['stage']}", f"stage-{answers['stage']}", "model"}
    prefix = Path(run.attempts.store_url) / run_key(run.run_id, result["artifacts"]["model"])
    assert {path.name for path in prefix.iterdir() if path.is_dir()} == set(), "no copy of the reference"
    final = load_file(prefix / "adapter_model.safetensors")
    if kind == "one-adapter":
        assert answers["after"] is not None
        start = Path(run.attempts.store_url) / run_key(run.run_id, result["artifacts"][f"stage-{answers['stage']}"])
        before = load_file(start / "adapter_model.safetensors")
        assert before.keys() == final.keys()
        assert any(not torch.equal(before[name], final[name]) for name in final)
