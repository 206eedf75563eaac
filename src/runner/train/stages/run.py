"""The stages of a run, one after the other: each starts from the weights that the one before it committed.

What a stage starts from is an artifact of the stage before, committed before the stage begins; its key is part of every
checkpoint of the stage. So a run that goes on inside a stage, on whatever machine, finds the same start again: the base
of its adapter, and the reference of DPO.
"""

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from runner.recipe.recipe import Recipe, continues_adapter
from runner.runs.checkpoints.files import read_runner_state
from runner.train.data.mixture import DEFAULT_SEED
from runner.train.stages.context import AttemptContext, FinishedStage, StageContext, StageStart
from runner.train.stages.first_start import MakeStart, adopt_finished, prepare_first_start, start_artifacts
from runner.train.stages.measured import stage_part
from runner.train.stages.prepare import prepare_stage

logger = logging.getLogger(__name__)

TrainStage = Callable[[StageContext], dict[str, Any]]
"""Trains one stage; returns its part of the result."""


def run_stages(
    attempt: AttemptContext,
    recipe: Recipe,
    *,
    restored: Path | None,
    script: Callable[[Recipe], TrainStage],
    make_start: MakeStart | None = None,
) -> dict[str, Any]:
    """Train all stages that are not finished yet; return the run's result.

    The owner may have asked to end the training early: then the stage that it is in is the last, and the result has
    `finished_early`.

    Args:
        attempt: the attempt that trains them.
        recipe: the run's.
        restored: the checkpoint to go on from, of any stage; None to begin with the first.
        script: gives the function that trains a stage by its method.
        make_start: makes what the first stage starts from, of another run's model.

    Raises:
        Exception: what the scripts raise.
    """
    stages = recipe.in_order
    finished: list[FinishedStage] = []
    if restored is not None:
        finished = adopt_finished(attempt, read_runner_state(restored).get("finished", ()))
    first = prepare_first_start(attempt, recipe, needed=not finished, make=make_start)
    result: dict[str, Any] = {}
    while len(finished) < len(stages):
        stage = stages[len(finished)]
        following = stages[len(finished) + 1] if len(finished) + 1 < len(stages) else None
        start = finished[-1]["leaves"] if finished else StageStart(base=first["base"], adapter=first["adapter"])
        assert start is not None, "only the last stage leaves nothing to a next one"
        attempt.metrics.stage = stage.stage_name
        attempt.checkpointer.save_total_limit = stage.checkpoint.save_total_limit
        minutes = stage.checkpoint.durable_minutes
        attempt.checkpointer.durable_seconds = None if minutes is None else 60 * minutes
        if recipe.stages:
            _announce(attempt, stage, number=len(finished) + 1, count=len(stages), afresh=restored is None)
        # In a fresh process as in one that has trained a stage already: an adapter's first weights are drawn.
        set_seed(int(stage.training.get("seed", DEFAULT_SEED)))
        context = prepare_stage(attempt, stage, start, restored=restored, following=following, finished=tuple(finished))
        result = script(stage)(context)
        if recipe.stages:
            # The main process made the artifact that the next stage starts from.
            result = attempt.process_info.broadcast_object(result)
        finished.append(
            {
                "stage": stage.stage_name,
                "method": stage.method,
                "step": result.get("step"),
                "max_steps": result.get("max_steps"),
                "best": result.get("best"),
                "dropped_rows": result.get("dropped_rows", []),
                **stage_part(result),
                "artifacts": result.get("artifacts", {}),
                "started_from": start,
                "leaves": None if result.get("finished_early") else _next_start(stage, following, start, result),
            }
        )
        if result.get("finished_early"):
            break
        restored = None
        _free_memory()
    if not attempt.process_info.is_main_process:
        return result
    before = start_artifacts(recipe, first)
    if not recipe.stages:
        return {**result, "artifacts": {**before, **result["artifacts"]}} if before else result
    return {
        **result,
        "artifacts": {**before, **_all_artifacts(finished)},
        "stages": _stage_results(attempt, recipe, finished),
    }


def _next_start(
    stage: Recipe, following: Recipe | None, start: StageStart, result: Mapping[str, Any]
) -> StageStart | None:
    if following is None:
        return None
    artifact = result["artifacts"][f"stage-{stage.stage_name}"]
    if continues_adapter(stage, following):
        return {"base": start["base"], "adapter": artifact}
    return {"base": artifact, "adapter": None}


def _announce(attempt: AttemptContext, stage: Recipe, *, number: int, count: int, afresh: bool) -> None:
    logger.info(f"stage {number} of {count}: {stage.stage_name} ({stage.method})")
    cleared = dict.fromkeys(("step", "max_steps", "loss", "tokens_per_second", "checkpoint_step")) if afresh else {}
    attempt.events.progress(force=True, stage=stage.stage_name, stage_number=number, stage_count=count, **cleared)


def _free_memory() -> None:
    """Release the memory that the stage's model and optimizer took."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _all_artifacts(finished: Sequence[FinishedStage]) -> dict[str, str]:
    return {name: key for stage in finished for name, key in stage["artifacts"].items()}


def _stage_results(attempt: AttemptContext, recipe: Recipe, finished: Sequence[FinishedStage]) -> list[dict[str, Any]]:
    """The `stages` of the result, as far as the run went: what each recorded, and its evaluations."""
    results = []
    for stage, record in zip(recipe.stages, finished, strict=False):
        shown = {name: value for name, value in record.items() if name != "leaves"}
        results.append({**shown, **attempt.before_and_after(stage.stage_name)})
    return results
