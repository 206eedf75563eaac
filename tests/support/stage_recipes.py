"""Small recipes of three stages, and what of a finished run of several stages must not depend on kills."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.recipe.recipe import Checkpoint, Recipe
from runner.runs.layout import run_key
from runner.storage.store import Store
from support.method_recipes import PREFERENCE, TEXT, on
from support.runs import outcome, recipe

STAGE_STEPS = 4
LORA = {"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"}


def staged(*stages: Recipe) -> Recipe:
    """One run of these stages."""
    return replace(stages[0], stage=None, stages=stages)


def stage(name: str, data: Path, method: Any, adapter: dict[str, Any] | None, **training: Any) -> Recipe:
    """Four steps with an evaluation in their middle, and a checkpoint after two."""
    what = recipe(data, adapter=False, max_steps=STAGE_STEPS, eval_steps=2, early_stopping_patience=None, **training)
    template = {"cpt": TEXT, "dpo": PREFERENCE}.get(method)
    return replace(
        what,
        stage=name,
        method=method,
        adapter=adapter,
        data=what.data if template is None else on(data, template),
        checkpoint=Checkpoint(save_steps=2, save_minutes=None, save_total_limit=1),
        evaluate=replace(what.evaluate, prompts=("Return the",), max_new_tokens=2),
    )


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


STAGED: dict[str, Callable[[Path], Recipe]] = {"one-adapter": one_adapter, "of-all-kinds": of_all_kinds}


def staged_outcome(store: Store, run_id: str) -> dict[str, Any]:
    """All of a finished run of several stages that must not depend on how often it was killed."""
    ended = outcome(store, run_id)
    result = json.loads(store.get(run_key(run_id, "result.json")))
    for each in result["stages"]:
        del each["artifacts"]  # their keys hold attempts' tokens
        each["started_from"] = {name: key and key.split("/")[1] for name, key in each["started_from"].items()}
        for phase in ("before", "after"):
            del each[phase]["samples_per_second"]
    return {**ended, "stages": result["stages"]}
