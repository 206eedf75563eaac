"""Read a sweep's file: keys, types and values, by W&B's schema of sweeps 0.3.0 and ours for `runner:`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.recipe.problems import Problem, show
from runner.recipe.recipe import Json
from runner.recipe.suggestions import closest
from runner.sweeps.space.file import RunnerSection, SweepFile
from runner.sweeps.space.parameters import ReadParameters, read_parameters
from runner.sweeps.space.reading.comparison import read_early_terminate, read_metric
from runner.sweeps.space.reading.runner_section import read_runner
from runner.sweeps.space.reading.sections import TEXT, read_values, unknown_key, whole

_UNUSED = {
    "apiVersion": None,
    "kind": None,
    "command": "runner starts trials itself",
    "entity": "set WANDB_ENTITY in the environment",
    "project": "set WANDB_PROJECT in the environment",
    "controller": "whichever worker is there decides",
    "job": "the recipe is what is trained",
    "image_uri": "the recipe is what is trained",
}
"""W&B's keys that are accepted and not used, and why; None: nothing is said of them."""
_UNSUPPORTED = {
    "metrics": ("several metrics are not supported", "write one: `metric: {name: eval/loss}`"),
    "scheduler": (
        "schedulers of W&B are not supported",
        "write `method: bayes`, which Optuna suggests for, or `random` or `grid`; halving is under `runner:`",
    ),
}
_USED = (
    *("program", "recipe", "method", "metric", "parameters", "early_terminate", "run_cap", "name", "description"),
    "runner",
)
TOP_KEYS = (*_USED, *_UNUSED, *_UNSUPPORTED)
"""Every key that is understood, if only to say that it is not supported."""
_METHODS = ("grid", "random", "bayes")
_OTHER_KEYS = {
    "sweep": "leave it out: the whole file is the sweep",
    "params": "write `parameters`",
    "parallel": "write it under `runner:`",
    "budget": "write `runner: {max_cost: …}` or `runner: {max_hours: …}`",
    "trials": "write `run_cap`",
    "num_trials": "write `run_cap`",
    "n_trials": "write `run_cap`",
    "count": "write `run_cap`",
    "max_runs": "write `run_cap`",
    "model": "write the recipe's name: `program: NAME.yaml`, and what differs in it under `runner: {set: {…}}`",
}
_TOP = {"name": TEXT, "description": TEXT, "program": TEXT, "recipe": TEXT, "run_cap": whole(1)}


@dataclass
class ReadSweep:
    """What was read, with everything that is wrong or to be said."""

    file: SweepFile | None = None
    """None if there are problems."""
    recipe: str | None = None
    """The recipe as it is written; None if it is not."""
    runner: RunnerSection = field(default_factory=RunnerSection)
    """What is right of `runner:`."""
    parameters: ReadParameters = field(default_factory=ReadParameters)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_sweep(data: Mapping[str, Json], *, name: str) -> ReadSweep:
    """Check the mapping of a sweep's file.

    Args:
        data: the file's mapping.
        name: the file's, without its suffix: the sweep's, if the file has none.
    """
    result = ReadSweep()
    problems = result.problems
    for key in data:
        if key in _UNSUPPORTED:
            problems.append(Problem((key,), *_UNSUPPORTED[key]))
        elif key not in TOP_KEYS:
            problems.append(unknown_key((key,), TOP_KEYS, _OTHER_KEYS, "a sweep's file", _USED))
    top = read_values({key: value for key, value in data.items() if key in _TOP}, _TOP, (), problems)
    recipe = _recipe(data, top, result)
    result.recipe = None if {problem.path for problem in problems} & {(), ("program",), ("recipe",)} else recipe
    method = _method(data, problems)
    metric = read_metric(data, problems, result.notes)
    early = read_early_terminate(data, problems, result.notes)
    if metric is None and "metric" not in data:
        needing = [f"`method: {method}`"] if method == "bayes" else []
        needing += ["`early_terminate`"] if "early_terminate" in data else []
        if needing:
            what = f"`metric` is missing, and {' and '.join(needing)} cannot do without"
            problems.append(Problem((), what, "write `metric: {name: eval/loss, goal: minimize}`"))
    if "parameters" not in data:
        remedy = "write `parameters: {training.learning_rate: {min: 1e-5, max: 1e-3}}`"
        problems.append(Problem((), "`parameters` is missing", remedy))
    else:
        result.parameters = read_parameters(data["parameters"])
        problems += result.parameters.problems
        result.notes += result.parameters.notes
    runner = result.runner = read_runner(data, problems)
    _unused(data, result)
    if not problems:
        result.file = SweepFile(
            name=top.get("name") or name,
            description=top.get("description"),
            recipe=recipe,
            method=method,
            metric=metric,
            early_terminate=early,
            run_cap=top.get("run_cap"),
            parameters=data["parameters"],
            runner=runner,
        )
    return result


def _recipe(data: Mapping[str, Json], top: Mapping[str, Any], result: ReadSweep) -> str:
    program, recipe = top.get("program"), top.get("recipe")
    is_script = isinstance(program, str) and program.endswith((".py", ".sh", ".ipynb"))
    if is_script and recipe is not None:
        result.notes.append(f"`program: {program}` is not used: the recipe is {recipe}")
        return str(recipe)
    if is_script:
        what = f"{show(program)} is a script, and a sweep of runner draws recipes"
        result.problems.append(
            Problem(("program",), what, "write the recipe's name or path: `program: my-recipe.yaml`")
        )
    elif "program" not in data and "recipe" not in data:
        result.problems.append(Problem((), "`program` is missing: the recipe", "write `program: my-recipe.yaml`"))
    elif program and recipe and program != recipe:
        what = f"{show(recipe)} here, and {show(program)} under `program`"
        result.problems.append(Problem(("recipe",), what, "keep one of the two"))
    elif (program or recipe) == "" or (program is None and recipe is None):
        key = "program" if "program" in data else "recipe"
        if not any(problem.path == (key,) for problem in result.problems):
            result.problems.append(Problem((key,), "it names no recipe", "write `program: my-recipe.yaml`"))
    return str(program or recipe)


def _method(data: Mapping[str, Json], problems: list[Problem]) -> Any:
    method = data.get("method")
    if method == "custom":
        remedy = f"write one of {', '.join(_METHODS)}; `bayes` is Optuna's"
        problems.append(Problem(("method",), "`custom` is not supported: it calls code of one's own", remedy))
    elif "method" not in data:
        problems.append(Problem((), "`method` is missing", "write `method: random`, or bayes, or grid"))
    elif method not in _METHODS:
        meant = closest(method.lower(), _METHODS) if isinstance(method, str) else None
        remedy = f"did you mean `{meant}`?" if meant else "write one of them"
        problems.append(Problem(("method",), f"{show(method)} is not one of {', '.join(_METHODS)}", remedy))
    return method


def _unused(data: Mapping[str, Json], result: ReadSweep) -> None:
    if "kind" in data and data["kind"] != "sweep":
        result.problems.append(Problem(("kind",), f"{show(data['kind'])} is not `sweep`", "write `kind: sweep`"))
    controller = data.get("controller")
    if "controller" in data and (not isinstance(controller, dict) or controller.get("type") not in ("local", "cloud")):
        result.problems.append(Problem(("controller",), "`{type: local}` or `{type: cloud}` expected", "leave it out"))
    said = [f"`{key}` ({why})" for key, why in _UNUSED.items() if key in data and why is not None]
    if said:
        result.notes.append(f"not used: {', '.join(said)}")
