"""A run that is killed anywhere ends with the same weights, bit for bit, and the same metrics as one that is not."""

import os
import random
import signal
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from runner.runs.checkpoints.lineage import checkpoints
from runner.storage.open import open_store
from support.forked import Attempts, Moment
from support.references import References
from support.runs import assert_same, outcome, recipe, submit
from support.thorough import cases

LOCAL = "runner.storage.local:LocalStore"
TRAINER = "runner.train.methods.sft:ResumableSFTTrainer"
CHECKPOINT = "runner.train.checkpointing.checkpointer:Checkpointer"

# Each with the kind of run that `make test` disturbs there; None: another moment of the same code path is taken.
MOMENTS: list[tuple[Moment, str | None]] = [
    # before training
    (Moment("runner.train.stages.steps:load_data"), None),
    (Moment("runner.train.stages.steps:measure"), "full"),
    # in a step
    (Moment(f"{TRAINER}.training_step", 1), None),
    (Moment(f"{TRAINER}.training_step", 9, after=True), None),
    (Moment(f"{TRAINER}.training_step", 22), "lora"),
    (Moment("torch.optim:AdamW.step", 5, after=True), "full"),
    (Moment("torch.optim:AdamW.step", 8), None),
    # in a snapshot, in staging
    (Moment("runner.train.checkpointing.snapshot:Snapshot._copy", 2), "full"),
    (Moment("runner.train.checkpointing.snapshot:Snapshot._fit_buffers", 1, after=True), None),
    (Moment("runner.train.checkpointing.state:TrainingState.write", 2), "lora"),
    (Moment("runner.train.checkpointing.state:TrainingState.write", 3, after=True), None),
    # in an upload, between data and manifest, after the manifest
    (Moment(f"{LOCAL}.upload", 1), None),
    (Moment(f"{LOCAL}.upload", 4, after=True), None),
    (Moment(f"{LOCAL}.upload", 12), "full"),
    (Moment(f"{CHECKPOINT}._before_visible", 2), None),
    (Moment(f"{CHECKPOINT}._before_visible", 2, after=True), None),
    (Moment("runner.train.checkpointing.checkpointer:commit", 3, after=True), "full"),
    # in an evaluation
    (Moment(f"{TRAINER}.prediction_step", 1), None),
    (Moment(f"{TRAINER}.prediction_step", 6, after=True), "full"),
    (Moment(f"{TRAINER}.evaluate", 3, after=True), None),
    # while pruning
    (Moment("runner.runs.checkpoints.prune:_delete_folder", 1), None),
    (Moment(f"{LOCAL}.delete", 1, after=True), "full"),
    (Moment("runner.runs.checkpoints.prune:_delete_folder", 2, after=True), None),
    # after training: the best model, the last evaluation, the export, the result
    (Moment(f"{TRAINER}.load_weights"), "full"),
    (Moment("runner.train.stages.steps:generate", 2), None),
    (Moment("runner.train.stages.artifacts:save_model"), "lora"),
    (Moment("runner.train.stages.artifacts:save_model", after=True), None),
    (Moment("runner.runs.artifacts:commit", after=True), "full"),
    (Moment("runner.train.agent.head_attempt:HeadAttempt._write_result", in_attempt=True), "full"),
    (Moment("runner.train.agent.head_attempt:HeadAttempt._write_result", after=True, in_attempt=True), None),
    # the attempt itself, at its beginning
    (Moment("runner.train.agent.head_agent:claim_attempt", after=True, in_attempt=True), "full"),
    (Moment("runner.train.agent.head_attempt:write_restored", after=True, in_attempt=True), None),
]

TERMS: list[tuple[Moment, str | None]] = [
    (Moment("runner.train.stages.steps:load_model", signal=signal.SIGTERM), None),
    (Moment("runner.train.stages.steps:measure", signal=signal.SIGTERM), None),
    (Moment(f"{TRAINER}.training_step", 1, signal=signal.SIGTERM), None),
    (Moment(f"{TRAINER}.training_step", 7, signal=signal.SIGTERM), "full"),
    (
        Moment(f"{TRAINER}.training_step", 16, after=True, signal=signal.SIGTERM),
        "lora",
    ),
    (Moment(f"{TRAINER}.prediction_step", 6, signal=signal.SIGTERM), "full"),
    (Moment(f"{TRAINER}.training_step", 24, after=True, signal=signal.SIGTERM), None),
    (Moment("runner.train.stages.steps:generate", 2, signal=signal.SIGTERM), None),
    (Moment("runner.train.stages.artifacts:save_model", signal=signal.SIGTERM), "full"),
]
KINDS = ("full", "lora")


def every(moments: list[tuple[Moment, str | None]]) -> list[Any]:
    """Each kind of run at each of these moments."""
    quick = {(kind, moment) for moment, kind in moments}
    pairs = [(kind, moment) for kind in KINDS for moment, _ in moments]
    return cases(pairs, quick=lambda kind, moment: (kind, moment) in quick)


@pytest.mark.parametrize(("kind", "moment"), every(MOMENTS))
def test_killed_at_this_moment_it_ends_the_same(
    kind: str, moment: Moment, references: References, forked: Attempts, data: Path
) -> None:
    what = recipe(data, adapter=kind == "lora")
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}".lower()
    submit(store, run_id, what)
    code = forked.run(run_id, moment)
    assert code == (-signal.SIGKILL if moment.in_attempt else 75), forked.log(run_id)
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), references(what).outcome)


@pytest.mark.parametrize(("kind", "moment"), every(TERMS))
def test_told_to_stop_at_this_moment_it_checkpoints_and_ends_the_same(
    kind: str, moment: Moment, references: References, forked: Attempts, data: Path
) -> None:
    what = recipe(data, adapter=kind == "lora")
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}".lower()
    submit(store, run_id, what)
    code = forked.run(run_id, moment)
    if moment.target.endswith("training_step") and moment.nth < 24:
        assert code == 75, forked.log(run_id)
        step = (moment.nth + 1) // 2
        assert checkpoints(store, run_id)[0].step == step, "SIGTERM saves at the boundary of the very step"
    assert code in (0, 75)
    if code == 75:
        forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), references(what).outcome)


@pytest.mark.parametrize(("kind", "seed"), cases(product(KINDS, range(4)), quick=lambda _, seed: seed == 0))
def test_killed_again_and_again_at_random_it_ends_the_same(
    kind: str, seed: int, references: References, forked: Attempts, data: Path
) -> None:
    what = recipe(data, adapter=kind == "lora")
    store = open_store(forked.store_url)
    run_id = f"{kind}-random-{seed}"
    submit(store, run_id, what)
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
    assert_same(outcome(store, run_id), references(what).outcome)
