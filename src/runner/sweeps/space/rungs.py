"""Rungs in steps: from `runner.rungs`, or from W&B's `early_terminate`; and evaluations that hit them."""

import math
from typing import Any

from runner.errors import UserError
from runner.recipe.loading.load import LoadedRecipe
from runner.recipe.recipe import Json
from runner.sweeps.space.file import EarlyTerminate, SweepFile
from runner.sweeps.space.metrics import is_evaluated

_MOST_BANDS = 100
"""W&B has no more."""


def rungs_in_steps(file: SweepFile, recipe: LoadedRecipe) -> list[int]:
    """Return the steps at which trials are compared, ascending; the last is `training.max_steps`, their end.

    Empty: trials train for epochs, and are compared at their end.

    Args:
        file: the sweep's, with its metric.
        recipe: with the settings of the whole sweep.

    Raises:
        UserError: rungs are asked for, and the recipe's length in steps is unknown, or a rung is beyond it; or
            iterations are counted in evaluations, and the recipe does not evaluate by steps.
    """
    length = _value(recipe, "training.max_steps")
    asked = file.runner.rungs is not None or file.early_terminate is not None
    where = "runner.rungs" if file.runner.rungs is not None else "early_terminate"
    if not isinstance(length, int) or length <= 0:
        if not asked:
            return []
        raise UserError(
            "trials are compared at steps, and the recipe's length is in epochs",
            where=where,
            remedy="set its length: `runner: {set: {training.max_steps: 1000}}`, or `training.max_steps` in the recipe",
        )
    if file.runner.rungs is not None:
        rungs = list(file.runner.rungs)
        if rungs[-1] > length:
            raise UserError(
                f"step {rungs[-1]} is beyond the last, training.max_steps {length}",
                where=where,
                remedy=f"write rungs below {length}, or a larger `runner: {{set: {{training.max_steps: …}}}}`",
            )
    elif file.early_terminate is not None:
        interval = _iteration(file, recipe)
        rungs = [band * interval for band in bands(file.early_terminate, math.ceil(length / interval))]
        if not rungs:
            first = file.early_terminate.min_iter or file.early_terminate.max_iter
            raise UserError(
                f"nothing would be compared: {first} evaluations are {(first or 0) * interval} steps, and trials end "
                f"at step {length}",
                where=where,
                remedy="write a smaller `min_iter`, or more evaluations: `runner: {set: {training.eval_steps: …}}`",
            )
    else:
        rungs = []
    return [*(step for step in rungs if step < length), length]


def bands(early: EarlyTerminate, below: int) -> list[int]:
    """Return the iterations at which W&B's hyperband compares, ascending, each once, those below `below`.

    Source: ``hyperband_stopping.py`` of sweeps 0.3.0. `min_iter` and `max_iter` without `s` is ours: W&B fails on it.
    """
    found: list[int] = []
    if early.max_iter is not None and early.s is not None:
        band: float = early.max_iter
        for _ in range(early.s):
            band /= early.eta
            if band < 1:
                break
            found.append(int(band))
    elif early.min_iter is not None:
        band = early.min_iter
        below = below if early.max_iter is None else min(below, early.max_iter)
        for _ in range(_MOST_BANDS):
            if band >= below:
                break
            found.append(int(band))
            band *= early.eta
    return sorted({band for band in found if band < below})


def evaluations_at(rungs: list[int], metric: str, recipe: LoadedRecipe) -> tuple[dict[str, Json], list[str]]:
    """Return settings with which each rung has a value of the metric, and what to say of them.

    Args:
        rungs: in steps, or the ends of trials that differ in length; empty: trials train for epochs.
        metric: its recorded name.
        recipe: with the settings of the whole sweep.
    """
    if is_evaluated(metric):
        kind, every, words = "eval", _interval(recipe, "eval"), "evaluates"
    else:
        kind, every, words = "logging", _interval(recipe, "logging"), "logs"
        if metric != "loss" and every is None:
            return {}, []
    prefix = _prefix(recipe)
    if not rungs:
        if kind == "logging" or _value(recipe, "training.eval_strategy") != "no":
            return {}, []
        return {f"{prefix}training.eval_strategy": "epoch"}, [
            f"training.eval_strategy: epoch is set for all trials, so that each has {metric} at its end"
        ]
    if len(rungs) == 1 and _value(recipe, f"training.{kind}_strategy") == "epoch":
        return {}, []  # an epoch that the last step cuts off ends with an evaluation too
    if every is not None and all(rung % every == 0 for rung in rungs):
        return {}, []
    common = math.gcd(*rungs)
    chosen = common
    if every is not None:
        divisors = [number for number in range(1, every + 1) if common % number == 0]
        chosen = divisors[-1] if divisors[-1] * 4 >= every or common == 1 else common
    settings: dict[str, Json] = {f"{prefix}training.{kind}_strategy": "steps", f"{prefix}training.{kind}_steps": chosen}
    was = f"the recipe {words} every {every} steps" if every is not None else f"the recipe {words} at no such steps"
    listed = ", ".join(map(str, rungs))
    at = f"at steps {listed}" if len(rungs) > 1 else f"at the last step, {listed}"
    note = f"training.{kind}_steps: {chosen} is set for all trials, so that each has {metric} {at}: {was}"
    return settings, [note]


def _iteration(file: SweepFile, recipe: LoadedRecipe) -> int:
    """Return the steps of one iteration: from one logged value of the metric to the next."""
    evaluated = file.metric is None or is_evaluated(file.metric.name)
    interval = _interval(recipe, "eval" if evaluated else "logging")
    if interval is None:
        raise UserError(
            "an iteration is one evaluation, and the recipe does not evaluate by steps"
            if evaluated
            else "an iteration is one logged value, and the recipe does not log by steps",
            where="early_terminate",
            remedy="write `runner: {rungs: [30, 60]}` in steps, or `runner: {set: {training.eval_strategy: steps, "
            "training.eval_steps: 10}}`",
        )
    return interval


def _interval(recipe: LoadedRecipe, kind: str) -> int | None:
    """Return the steps between evaluations, or between logged values; None if they are not by steps."""
    if _value(recipe, f"training.{kind}_strategy") != "steps":
        return None
    every = _value(recipe, f"training.{kind}_steps")
    if every is None and kind == "eval":
        every = _value(recipe, "training.logging_steps")
    if not isinstance(every, int | float) or every <= 0:
        return None
    if every < 1:  # a share of all steps
        length = _value(recipe, "training.max_steps")
        return math.ceil(length * every) if isinstance(length, int) and length > 0 else None
    return int(every)


def _prefix(recipe: LoadedRecipe) -> str:
    stages = recipe.recipe.stages
    return f"stages.{stages[-1].stage}." if stages else ""


def _value(recipe: LoadedRecipe, name: str) -> Any:
    setting = recipe.settings.get(_prefix(recipe) + name)
    return None if setting is None else setting.value
