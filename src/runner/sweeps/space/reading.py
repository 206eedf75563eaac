"""Read a sweep's file: keys, types and values, by W&B's schema of sweeps 0.3.0 and ours for `runner:`."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.suggestions import closest
from runner.sweeps.space.file import EarlyTerminate, Metric, RunnerSection, SweepFile
from runner.sweeps.space.parameters import ReadParameters, read_parameters

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


@dataclass
class _Kind:
    """What a key takes."""

    words: str
    types: tuple[type, ...] = ()
    above: float | None = None
    least: float | None = None
    choices: tuple[str, ...] = ()
    many: bool = False


def _whole(least: int) -> _Kind:
    return _Kind(f"a whole number of at least {least}", (int,), least=least)


_ABOVE_0 = _Kind("a number above 0", (int, float), above=0)
_TEXT, _FLAG, _NUMBER = _Kind("text", (str,)), _Kind("true or false", (bool,)), _Kind("a number", (int, float))
_BETTER_IF_MORE = ("accurac", "reward", "exact_match", "margins")
_IMPUTE = ("latest", "best", "worst")

_TOP = {"name": _TEXT, "description": _TEXT, "program": _TEXT, "recipe": _TEXT, "run_cap": _whole(1)}
_METRIC = {
    "name": _TEXT,
    "goal": _Kind("minimize or maximize", (str,), choices=("minimize", "maximize")),
    "target": _NUMBER,
    "impute": _Kind("", (str,), choices=_IMPUTE),
    "impute_while_running": _Kind("", (str,), choices=(*_IMPUTE, "false")),
}
_EARLY = {
    "type": _Kind("hyperband", (str,), choices=("hyperband",)),
    "min_iter": _whole(1),
    "max_iter": _whole(1),
    "s": _whole(1),
    "eta": _Kind("a number above 1", (int, float), above=1),
    "strict": _FLAG,
}
_RUNNER = {
    "parallel": _whole(1),
    "gpu": _Kind("a GPU's name, or a list of them", (str,), many=True),
    "infra": _Kind("a cloud, region or backend, or a list of them", (str,), many=True),
    "use_spot": _FLAG,
    "max_hourly_cost": _ABOVE_0,
    "trials_per_gpu": _whole(1),
    "gpus_per_trial": _whole(1),
    "max_cost": _ABOVE_0,
    "max_hours": _ABOVE_0,
    "rungs": _Kind("a list of steps, such as [30, 60]", (int,), least=1, many=True),
    "eta": _Kind("a number above 1", (int, float), above=1),
    "scheduler": _Kind("", (str,), choices=("successive_halving", "asha", "hyperband", "stop", "none")),
    "schedule": _Kind("", (str,), choices=("full", "rung")),
    "seed": _whole(0),
    "retries": _whole(0),
    "set": _Kind("a mapping of settings", (dict,)),
}
_OTHER_RUNNER = {
    "gpus": "write `gpu`",
    "accelerators": "write `gpu`",
    "spot": "write `use_spot`",
    "cloud": "write `infra`",
    "clouds": "write `infra`",
    "workers": "write `parallel`",
    "parallelism": "write `parallel`",
    "max_parallel": "write `parallel`",
    "budget": "write `max_cost` or `max_hours`",
    "cost": "write `max_cost`",
    "hours": "write `max_hours`",
    "overrides": "write `set`",
    "reduction_factor": "write `eta`",
}


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
            problems.append(_unknown((key,), TOP_KEYS, _OTHER_KEYS, "a sweep's file", _USED))
    top = _values({key: value for key, value in data.items() if key in _TOP}, _TOP, (), problems)
    recipe = _recipe(data, top, result)
    result.recipe = None if {problem.path for problem in problems} & {(), ("program",), ("recipe",)} else recipe
    method = _method(data, problems)
    metric = _metric(data, result)
    early = _early_terminate(data, result)
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
    runner = result.runner = _runner(data, problems)
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


def _metric(data: Mapping[str, Json], result: ReadSweep) -> Metric | None:
    if "metric" not in data:
        return None
    written = data["metric"]
    if not isinstance(written, dict):
        remedy = f"write `metric: {{name: {written}}}`" if isinstance(written, str) else None
        remedy = remedy or "write `metric: {name: eval/loss, goal: minimize}`"
        result.problems.append(Problem(("metric",), f"a mapping expected, not {show(written)}", remedy))
        return None
    before = len(result.problems)
    if written.get("impute_while_running") is False:  # W&B's word `false`, without the quotes that it needs
        written = {**written, "impute_while_running": "false"}
    values = _section(written, _METRIC, ("metric",), {"mode": "write `goal`"}, result.problems)
    if "name" not in written:
        result.problems.append(Problem(("metric",), "`name` is missing", "write `name: eval/loss`"))
    elif isinstance(written["name"], str) and not written["name"].strip():
        result.problems.append(Problem(("metric", "name"), "it is empty", "write `name: eval/loss`"))
    if len(result.problems) > before:
        return None
    name = values["name"].strip()
    if name != values["name"]:
        result.notes.append(
            f"metric.name: spaces around `{name}` are left out; W&B would look for a metric with them, and find none"
        )
    metric = Metric(**{**values, "name": metric_key(name)})
    if "goal" not in written and any(word in metric.name for word in _BETTER_IF_MORE):
        result.notes.append(
            f"metric.goal: {metric.name} is minimized, W&B's default: write `goal: maximize` if more is better"
        )
    if ignored := [key for key in ("impute", "impute_while_running") if key in written]:
        result.notes.append(
            f"not used: {' and '.join(f'`metric.{key}`' for key in ignored)}: a trial without a value gets none"
        )
    return metric


def metric_key(name: str) -> str:
    """Return a metric's name in a run's records: W&B's ``eval/loss`` is ``eval_loss``, ``train/loss`` is ``loss``."""
    if name.startswith("eval/"):
        return f"eval_{name.removeprefix('eval/')}"
    return name.removeprefix("train/")


def _early_terminate(data: Mapping[str, Json], result: ReadSweep) -> EarlyTerminate | None:
    if "early_terminate" not in data:
        return None
    at: RecipePath = ("early_terminate",)
    written = data["early_terminate"]
    if not isinstance(written, dict):
        what = f"a mapping expected, not {show(written)}"
        result.problems.append(Problem(at, what, "write `{type: hyperband, min_iter: 3}`"))
        return None
    before = len(result.problems)
    values = _section(written, _EARLY, at, {}, result.problems)
    if "type" not in written:
        result.problems.append(Problem(at, "`type` is missing", "write `type: hyperband`"))
    if "min_iter" not in written and not {"max_iter", "s"} <= written.keys():
        what = "neither `min_iter`, nor `max_iter` with `s`"
        if "max_iter" in written or "s" in written:
            what = f"`{'max_iter' if 'max_iter' in written else 's'}` alone says no iteration"
        remedy = "write `min_iter: 3`, the first evaluation at which trials are compared, or `max_iter` and `s`"
        result.problems.append(Problem(at, what, remedy))
    elif {"min_iter", "max_iter"} <= written.keys():
        if "s" in written:
            result.notes.append("early_terminate.min_iter is not used: as for W&B, `max_iter` with `s` goes before it")
        else:
            result.notes.append(
                "early_terminate: `min_iter` and `max_iter` without `s` is read as the multiples of min_iter below "
                "max_iter; W&B fails on it"
            )
    if len(result.problems) > before:
        return None
    del values["type"]
    early = EarlyTerminate(**values)
    if early.s is not None and early.max_iter is not None and early.max_iter / early.eta < 1:
        what = f"max_iter {early.max_iter} / eta {early.eta:g} is below the first iteration"
        result.problems.append(Problem(at, what, "write a larger max_iter"))
    return early


def _runner(data: Mapping[str, Json], problems: list[Problem]) -> RunnerSection:
    written = data.get("runner", {})
    if not isinstance(written, dict):
        problems.append(Problem(("runner",), f"a mapping expected, not {show(written)}", "write `{parallel: 4}`"))
        return RunnerSection()
    values = _section(written, _RUNNER, ("runner",), _OTHER_RUNNER, problems)
    rungs = values.get("rungs")
    if rungs is not None and any(later <= one for one, later in itertools.pairwise(rungs)):
        what = f"{', '.join(map(str, rungs))} do not ascend"
        problems.append(Problem(("runner", "rungs"), what, f"write {sorted(set(rungs))}"))
    if values.get("trials_per_gpu", 1) > 1 and values.get("gpus_per_trial", 1) > 1:
        what = "trials share a GPU or have several, and not both"
        problems.append(Problem(("runner", "gpus_per_trial"), what, "keep one of the two"))
    return RunnerSection(**values)


def _unused(data: Mapping[str, Json], result: ReadSweep) -> None:
    if "kind" in data and data["kind"] != "sweep":
        result.problems.append(Problem(("kind",), f"{show(data['kind'])} is not `sweep`", "write `kind: sweep`"))
    controller = data.get("controller")
    if "controller" in data and (not isinstance(controller, dict) or controller.get("type") not in ("local", "cloud")):
        result.problems.append(Problem(("controller",), "`{type: local}` or `{type: cloud}` expected", "leave it out"))
    said = [f"`{key}` ({why})" for key, why in _UNUSED.items() if key in data and why is not None]
    if said:
        result.notes.append(f"not used: {', '.join(said)}")


def _section(
    written: Mapping[str, Json],
    known: Mapping[str, _Kind],
    at: RecipePath,
    others: Mapping[str, str],
    problems: list[Problem],
) -> dict[str, Any]:
    problems += [_unknown((*at, key), known, others, f"`{at[0]}`") for key in written if key not in known]
    return _values({key: value for key, value in written.items() if key in known}, known, at, problems)


def _values(
    written: Mapping[str, Json], known: Mapping[str, _Kind], at: RecipePath, problems: list[Problem]
) -> dict[str, Any]:
    """Return the values that are of their kinds; the others are problems."""
    values: dict[str, Any] = {}
    for key, value in written.items():
        kind = known[key]
        if kind.many:
            items = value if isinstance(value, list) else [value]
            wrong = [item for item in items if not _is(item, kind)]
            if wrong or not items:
                problems.append(_wrong((*at, key), wrong[0] if wrong else value, kind))
            else:
                values[key] = tuple(_plain(item, kind) for item in items)
        elif not _is(value, kind):
            problems.append(_wrong((*at, key), value, kind))
        else:
            values[key] = _plain(value, kind)
    return values


def _is(value: Json, kind: _Kind) -> bool:
    if isinstance(value, bool):
        return bool in kind.types
    if isinstance(value, float) and kind.types == (int,):
        return value.is_integer() and _is(int(value), kind)
    if not isinstance(value, kind.types) or (kind.choices and value not in kind.choices):
        return False
    if isinstance(value, int | float):
        enough = (kind.above is None or value > kind.above) and (kind.least is None or value >= kind.least)
        return enough and math.isfinite(value)
    return True


def _plain(value: Json, kind: _Kind) -> Any:
    return int(value) if isinstance(value, float) and kind.types == (int,) else value


def _wrong(at: RecipePath, value: Json, kind: _Kind) -> Problem:
    words = kind.words if not kind.choices else f"one of {', '.join(kind.choices)}"
    remedy = "write one, or leave it out"
    if kind.choices and isinstance(value, str) and (meant := closest(value.lower(), kind.choices)):
        remedy = f"did you mean `{meant}`?"
    elif isinstance(value, str) and kind.types[0] in (int, float) and _is(_number(value), kind):
        remedy = f"write {value}, without quotes"
    return Problem(at, f"{words} expected, not {show(value)}", remedy)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unknown(
    at: RecipePath, known: Iterable[str], others: Mapping[str, str], of: str, listed: Iterable[str] = ()
) -> Problem:
    key = str(at[-1])
    known = list(known)
    remedy = others.get(key)
    if remedy is None and (meant := closest(key, known)):
        remedy = f"did you mean `{meant}`?"
    elif remedy is None and len(at) == 1 and key in {part.name for part in dataclasses.fields(RunnerSection)}:
        remedy = "write it under `runner:`"
    return Problem(at, f"{of} has no such key", remedy or f"there are {', '.join(listed or known)}")
