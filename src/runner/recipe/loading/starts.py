"""``model: {run: RUN, checkpoint: best}``: a recipe that starts from another run's model (a warm start).

The store knows the run; whoever loads the recipe brings a function that asks it. The recipe then names the run and the
checkpoint by their whole names, and the model that they were trained from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.errors import UserError
from runner.recipe.loading.overrides import LayeredRecipe
from runner.recipe.problems import Problem, show
from runner.recipe.recipe import Json


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What a warm start starts from."""

    run_id: str
    """The run."""
    checkpoint: str | None
    """Its checkpoint by its whole name; None: the model that it ended with."""
    digest: str
    """Of what is taken."""
    model: Mapping[str, Json]
    """What names the model that the run was trained from: `model_name_or_path`, and `model_revision` if it has one."""
    trust_remote_code: bool = False
    """Whether that model comes with code of its own."""


ResolveStart = Callable[[str, str | None], RunStart]
"""Finds the run and the checkpoint that a recipe names; raises `UserError` if there is none."""

_CHECKPOINT = "write `best`, `last`, a step, or leave it out: the model that the run ended with"


def resolve_start(layers: LayeredRecipe, resolve: ResolveStart | None) -> tuple[RunStart | None, list[Problem]]:
    """Write the whole names of the run that a recipe starts from into it, in place; nothing if it starts from none.

    Args:
        layers: the recipe.
        resolve: asks the store; None: it is not known, and the recipe must have the whole names already.
    """
    model = layers.data.get("model")
    if not isinstance(model, dict):
        return None, []
    run, checkpoint = model.get("run"), model.get("checkpoint")
    if run is None:
        if checkpoint is None:
            return None, []
        what = f"it is {show(checkpoint)}, and there is no `run` that has it"
        return None, [Problem(("model", "checkpoint"), what, "write `run: RUN` beside it, or leave it out")]
    if not isinstance(run, str):
        what = f"text expected, not {show(run)}"
        return None, [Problem(("model", "run"), what, "write a run's id, or `last`")]
    if isinstance(checkpoint, bool) or not isinstance(checkpoint, str | int | None):
        return None, [Problem(("model", "checkpoint"), f"{show(checkpoint)} names no checkpoint", _CHECKPOINT)]
    if resolve is None:
        if "model_name_or_path" in model:
            return None, []
        what = "the store that has the run is not asked here"
        return None, [Problem(("model", "run"), what, "write `model_name_or_path` beside it")]
    try:
        start = resolve(run, None if checkpoint is None else str(checkpoint))
    except UserError as error:
        at = ("model", "checkpoint") if checkpoint is not None and error.where == "--checkpoint" else ("model", "run")
        what = error.what if error.where in (None, "--checkpoint") else f"{error.where}: {error.what}"
        return None, [Problem(at, what, error.remedy)]
    problems = []
    for name in ("model_name_or_path", "model_revision"):
        theirs = start.model.get(name)
        if model.get(name) is not None and model[name] != theirs and not (name == "model_revision" and theirs is None):
            what = f"{show(model[name])} is not what {start.run_id} was trained from: that is {show(theirs)}"
            problems.append(Problem(("model", name), what, "leave it out: the run says which model it is"))
        elif theirs is not None:
            model[name] = theirs
    model["run"] = start.run_id
    if start.checkpoint is None:
        model.pop("checkpoint", None)
    else:
        model["checkpoint"] = start.checkpoint
    if start.trust_remote_code and isinstance(layers.data.setdefault("training", {}), dict):
        layers.data["training"].setdefault("trust_remote_code", True)
    return start, problems
