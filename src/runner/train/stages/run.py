"""The stages of a run, one after the other: each starts from the very weights that the one before it left in the store.

What a stage starts from is an artifact of the stage before, committed before the stage begins; its key is part of every
checkpoint of the stage. So a run that goes on inside a stage, on whatever machine, finds the same start again: the base
of its adapter, and the reference of DPO.
"""

import dataclasses
import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import set_seed

from runner.recipe.recipe import Recipe, continues_adapter
from runner.runs.checkpoint_files import read_runner_state
from runner.train.data.mixture import DEFAULT_SEED
from runner.train.stages.context import Context
from runner.train.stages.prepare import THE_RECIPES, Start, fit_to_device, split_over_processes, started

Script = Callable[[Context], dict[str, Any]]


def run(context: Context, recipe: Recipe, script: Callable[[Recipe], Script]) -> dict[str, Any]:
    """Train all stages that are not finished yet; returns what the run's result says.

    Args:
        context: the attempt's, with the checkpoint to go on from, whichever stage's it is.
        recipe: the run's.
        script: gives the script of a stage's method.

    Raises:
        what the scripts raise.
    """
    stages = recipe.in_order
    finished: list[dict[str, Any]] = []
    if context.restored is not None:
        finished = list(read_runner_state(context.restored).get("finished", ()))
    restored = context.restored
    result: dict[str, Any] = {}
    while len(finished) < len(stages):
        stage = stages[len(finished)]
        start = finished[-1]["leaves"] if finished else THE_RECIPES
        context.metrics.stage = stage.stage_name
        context.checkpointer.save_total_limit = stage.checkpoint.save_total_limit
        if recipe.stages:
            _announce(context, stage, number=len(finished) + 1, afresh=restored is None)
        # In a fresh process as in one that has trained a stage already: an adapter's first weights are drawn.
        set_seed(int(stage.training.get("seed", DEFAULT_SEED)))
        following = stages[len(finished) + 1] if len(finished) + 1 < len(stages) else None
        of_stage = fit_to_device(started(context, stage, start))
        of_stage = dataclasses.replace(of_stage, restored=restored, following=following, finished=tuple(finished))
        of_stage = split_over_processes(of_stage)
        result = script(stage)(of_stage)
        if recipe.stages:
            result = context.process_info.broadcast_object(result)  # the first has made what the next stage starts from
        finished.append(
            {
                "stage": stage.stage_name,
                "method": stage.method,
                **{name: result.get(name) for name in ("step", "max_steps", "best", "artifacts")},
                "started_from": dict(start),
                "leaves": _left(stage, following, start, result),
            }
        )
        restored = None
        _let_go()
    if not recipe.stages or not context.process_info.is_main_process:
        return result
    return {**result, "artifacts": _all_artifacts(finished), "stages": _told(context, recipe, finished)}


def _left(stage: Recipe, following: Recipe | None, start: Start, result: Mapping[str, Any]) -> Start | None:
    if following is None:
        return None
    artifact = result["artifacts"][f"stage-{stage.stage_name}"]
    if continues_adapter(stage, following):
        return {"base": start["base"], "adapter": artifact}
    return {"base": artifact, "adapter": None}


def _announce(context: Context, stage: Recipe, *, number: int, afresh: bool) -> None:
    count = len(context.recipe.stages)
    print(f"stage {number} of {count}: {stage.stage_name} ({stage.method})", flush=True)
    before = dict.fromkeys(("step", "max_steps", "loss", "tokens_per_second", "checkpoint_step")) if afresh else {}
    context.events.progress(force=True, stage=stage.stage_name, stage_number=number, stage_count=count, **before)


def _let_go() -> None:
    """Have the memory back that the stage's model and optimizer took."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _all_artifacts(finished: list[dict[str, Any]]) -> dict[str, str]:
    return {name: key for stage in finished for name, key in stage["artifacts"].items()}


def _told(context: Context, recipe: Recipe, finished: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the result says of each stage."""
    told = []
    for stage, known in zip(recipe.stages, finished, strict=True):
        of_stage = dataclasses.replace(context, recipe=stage)
        kept = {name: value for name, value in known.items() if name != "leaves"}
        told.append({**kept, **of_stage.before_and_after()})
    return told
