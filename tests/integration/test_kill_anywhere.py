"""A run that is killed anywhere ends with the same weights, bit for bit, and the same metrics as one that is not."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from runner.runs.lineage import checkpoints
from runner.storage.open import open_store
from support.forked import Attempts, Moment
from support.runs import assert_same, check_metrics, outcome, recipe, submit

LOCAL = "runner.storage.local:LocalStore"
CHECKPOINT = "runner.train.checkpointing.checkpointer:Checkpointer"

MOMENTS = [
    # before training
    Moment("runner.train.stages.steps:load_data"),
    Moment("runner.train.stages.steps:measure"),
    # in a step
    Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 1),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 9, after=True),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 22),
    Moment("torch.optim:AdamW.step", 5, after=True),
    Moment("torch.optim:AdamW.step", 8),
    # in a snapshot, in staging
    Moment("runner.train.checkpointing.snapshot:Snapshot._copy", 2),
    Moment("runner.train.checkpointing.snapshot:Snapshot._fit_buffers", 1, after=True),
    Moment("runner.train.checkpointing.state:TrainingState.write", 2),
    Moment("runner.train.checkpointing.state:TrainingState.write", 3, after=True),
    # in an upload, between data and manifest, after the manifest
    Moment(f"{LOCAL}.upload", 1),
    Moment(f"{LOCAL}.upload", 4, after=True),
    Moment(f"{LOCAL}.upload", 12),
    Moment(f"{CHECKPOINT}._before_visible", 2),
    Moment(f"{CHECKPOINT}._before_visible", 2, after=True),
    Moment("runner.train.checkpointing.checkpointer:commit", 3, after=True),
    # in an evaluation
    Moment("runner.train.methods.sft:ResumableSFTTrainer.prediction_step", 1),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.prediction_step", 6, after=True),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.evaluate", 3, after=True),
    # while pruning
    Moment("runner.runs.prune:_delete_folder", 1),
    Moment(f"{LOCAL}.delete", 1, after=True),
    Moment("runner.runs.prune:_delete_folder", 2, after=True),
    # after training: the best model, the last evaluation, the export, the result
    Moment("runner.train.methods.sft:ResumableSFTTrainer.load_weights"),
    Moment("runner.train.stages.steps:generate", 2),
    Moment("runner.train.stages.steps:save_model"),
    Moment("runner.train.stages.steps:save_model", after=True),
    Moment("runner.runs.artifacts:commit", after=True),
    Moment("runner.train.agent.attempt:Attempt._write_result", in_attempt=True),
    Moment("runner.train.agent.attempt:Attempt._write_result", after=True, in_attempt=True),
    # the attempt itself, at its beginning
    Moment("runner.train.agent.head_agent:claim_attempt", after=True, in_attempt=True),
    Moment("runner.train.agent.attempt:write_restored", after=True, in_attempt=True),
]

TERMS = [
    Moment("runner.train.stages.steps:load_model", signal=signal.SIGTERM),
    Moment("runner.train.stages.steps:measure", signal=signal.SIGTERM),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 1, signal=signal.SIGTERM),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 7, signal=signal.SIGTERM),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 16, after=True, signal=signal.SIGTERM),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.prediction_step", 6, signal=signal.SIGTERM),
    Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 24, after=True, signal=signal.SIGTERM),
    Moment("runner.train.stages.steps:generate", 2, signal=signal.SIGTERM),
    Moment("runner.train.stages.steps:save_model", signal=signal.SIGTERM),
]


@pytest.fixture(scope="module", params=["full", "lora"])
def undisturbed(request: pytest.FixtureRequest, forked: Attempts, data: Path) -> tuple[str, dict[str, Any]]:
    """How the run ends that nobody kills."""
    store = open_store(forked.store_url)
    run_id = f"undisturbed-{request.param}"
    submit(store, run_id, recipe(data, adapter=request.param == "lora"))
    assert forked.run(run_id) == 0, forked.log(run_id)
    ended = outcome(store, run_id)
    check_metrics(ended["metrics"])
    return request.param, ended


def name_of(moment: Moment) -> str:
    return str(moment)


@pytest.mark.parametrize("moment", MOMENTS, ids=name_of)
def test_killed_at_this_moment_it_ends_the_same(
    moment: Moment, undisturbed: tuple[str, dict[str, Any]], forked: Attempts, data: Path
) -> None:
    kind, expected = undisturbed
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}-{MOMENTS.index(moment)}".lower()
    submit(store, run_id, recipe(data, adapter=kind == "lora"))
    code = forked.run(run_id, moment)
    assert code == (-signal.SIGKILL if moment.in_attempt else 75), forked.log(run_id)
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), expected)


@pytest.mark.parametrize("moment", TERMS, ids=name_of)
def test_told_to_stop_at_this_moment_it_checkpoints_and_ends_the_same(
    moment: Moment, undisturbed: tuple[str, dict[str, Any]], forked: Attempts, data: Path
) -> None:
    kind, expected = undisturbed
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}-{TERMS.index(moment)}".lower()
    submit(store, run_id, recipe(data, adapter=kind == "lora"))
    code = forked.run(run_id, moment)
    if moment.target.endswith("training_step") and moment.nth < 24:
        assert code == 75, forked.log(run_id)
        step = (moment.nth + 1) // 2
        assert checkpoints(store, run_id)[0].step == step, "SIGTERM saves at the boundary of the very step"
    assert code in (0, 75)
    if code == 75:
        forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), expected)


@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_at_random_it_ends_the_same(
    seed: int, undisturbed: tuple[str, dict[str, Any]], forked: Attempts, data: Path
) -> None:
    kind, expected = undisturbed
    store = open_store(forked.store_url)
    run_id = f"{kind}-random-{seed}"
    submit(store, run_id, recipe(data, adapter=kind == "lora"))
    draw = random.Random(f"{kind}{seed}")
    for _ in range(12):
        process = forked.start(run_id)
        process.join(draw.uniform(0.5, 4.0))
        if process.exitcode is None:
            os.kill(process.pid, draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            process.join(60)
        assert process.exitcode in (0, 75, -signal.SIGKILL), forked.log(run_id)
        if process.exitcode == 0:
            break
    else:
        forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), expected)
