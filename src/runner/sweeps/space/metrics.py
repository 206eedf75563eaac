"""Which metrics the trials of a recipe will have, so that a sweep over one that never appears does not start."""

import fnmatch
from collections.abc import Iterator

from runner.recipe.inputs.reward_refs import split_reward
from runner.recipe.problems import Problem, show
from runner.recipe.recipe import Recipe
from runner.recipe.rules.evaluation import METRICS
from runner.recipe.suggestions import closest
from runner.sweeps.space.file import Metric

AT_THE_END = ("exact_match", "perplexity")
"""Metrics that are measured after training only."""


def last_stage(recipe: Recipe) -> Recipe:
    """Return the stage whose metrics count: the last one, or the recipe itself."""
    return recipe.stages[-1] if recipe.stages else recipe


def default_metric(recipe: Recipe) -> Metric:
    """Return what trials are compared by if the file does not say: the evaluation's loss, or the training's."""
    return Metric(name="eval_loss" if last_stage(recipe).data.has_evaluation else "loss")


def is_evaluated(metric: str) -> bool:
    """Whether a metric comes from evaluations during training."""
    return metric.startswith("eval_")


def find_unknown_metric(metric: Metric, recipe: Recipe, *, pauses: bool) -> Iterator[Problem]:
    """Yield a problem if no trial will have the metric, or none at its rungs.

    Args:
        metric: the file's.
        recipe: what trials train.
        pauses: whether trials are compared before their end.
    """
    at = ("metric", "name")
    stage = last_stage(recipe)
    name = metric.name.removeprefix("eval_") if metric.name.removeprefix("eval_") in AT_THE_END else metric.name
    known = _metrics(stage)
    listed = [one for one in known if "*" not in one and not one.endswith("aux_loss")]
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in known):
        if pauses and name in AT_THE_END:
            what = f"{show(name)} is measured after training only, and trials are compared at rungs"
            yield Problem(at, what, "write `name: eval/loss`, or leave rungs and early_terminate out")
        return
    what = f"no trial will have {show(metric.name)}"
    if name == "exact_match":
        remedy = "write `evaluate: {before_and_after: true, exact_match: {}}` in the recipe"
    elif is_evaluated(name) and not stage.data.has_evaluation:
        what += ": the recipe has no evaluation data"
        remedy = "write `data: {eval: {from_train: 0.1}}` in the recipe, or `name: train/loss`"
    else:
        meant = closest(name, listed)
        remedy = (f"did you mean `{meant}`? " if meant else "") + f"there will be {', '.join(listed[:12])}"
    yield Problem(at, what, remedy)


def _metrics(stage: Recipe) -> list[str]:
    """Return patterns of the names that a trial's records will have."""
    names = ["loss", *METRICS[stage.method]]
    for reward in stage.training.get("reward_funcs") or ():
        function = "*" if reward.startswith("get_") else split_reward(reward)[1].replace("-", "_")
        names += [f"rewards/{function}/mean", f"rewards/{function}/std"]
    metrics = [f"eval_{name}" for name in names] if stage.data.has_evaluation else []
    metrics += names
    if stage.evaluate.exact_match is not None:
        metrics.append("exact_match")
    if stage.evaluate.before_and_after and stage.method in ("sft", "cpt"):
        metrics.append("perplexity")
    return metrics


def recorded_name(metric: str) -> str:
    """Return a metric's name as it is recorded: those that are measured at the end only have no ``eval_``."""
    return metric.removeprefix("eval_") if metric.removeprefix("eval_") in AT_THE_END else metric
