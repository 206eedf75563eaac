"""`metric` and `early_terminate` of a sweep's file: what trials are compared by, and when."""

from collections.abc import Mapping

from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.sweeps.space.file import EarlyTerminate, Metric
from runner.sweeps.space.reading.sections import FLAG, NUMBER, TEXT, Kind, read_section, whole

_BETTER_IF_MORE = ("accurac", "reward", "exact_match", "margins")
_IMPUTE = ("latest", "best", "worst")
_METRIC = {
    "name": TEXT,
    "goal": Kind("minimize or maximize", (str,), choices=("minimize", "maximize")),
    "target": NUMBER,
    "impute": Kind("", (str,), choices=_IMPUTE),
    "impute_while_running": Kind("", (str,), choices=(*_IMPUTE, "false")),
}
_EARLY = {
    "type": Kind("hyperband", (str,), choices=("hyperband",)),
    "min_iter": whole(1),
    "max_iter": whole(1),
    "s": whole(1),
    "eta": Kind("a number above 1", (int, float), above=1),
    "strict": FLAG,
}


def read_metric(data: Mapping[str, Json], problems: list[Problem], notes: list[str]) -> Metric | None:
    """Read `metric`; None if it is absent, or wrong."""
    if "metric" not in data:
        return None
    written = data["metric"]
    if not isinstance(written, dict):
        remedy = f"write `metric: {{name: {written}}}`" if isinstance(written, str) else None
        remedy = remedy or "write `metric: {name: eval/loss, goal: minimize}`"
        problems.append(Problem(("metric",), f"a mapping expected, not {show(written)}", remedy))
        return None
    before = len(problems)
    if written.get("impute_while_running") is False:  # W&B's word `false`, without the quotes that it needs
        written = {**written, "impute_while_running": "false"}
    values = read_section(written, _METRIC, ("metric",), {"mode": "write `goal`"}, problems)
    if "name" not in written:
        problems.append(Problem(("metric",), "`name` is missing", "write `name: eval/loss`"))
    elif isinstance(written["name"], str) and not written["name"].strip():
        problems.append(Problem(("metric", "name"), "it is empty", "write `name: eval/loss`"))
    if len(problems) > before:
        return None
    name = values["name"].strip()
    if name != values["name"]:
        notes.append(
            f"metric.name: spaces around `{name}` are left out; W&B would look for a metric with them, and find none"
        )
    metric = Metric(**{**values, "name": metric_key(name)})
    if "goal" not in written and any(word in metric.name for word in _BETTER_IF_MORE):
        notes.append(
            f"metric.goal: {metric.name} is minimized, W&B's default: write `goal: maximize` if more is better"
        )
    if ignored := [key for key in ("impute", "impute_while_running") if key in written]:
        notes.append(
            f"not used: {' and '.join(f'`metric.{key}`' for key in ignored)}: a trial without a value gets none"
        )
    return metric


def metric_key(name: str) -> str:
    """Return a metric's name in a run's records: W&B's ``eval/loss`` is ``eval_loss``, ``train/loss`` is ``loss``."""
    if name.startswith("eval/"):
        return f"eval_{name.removeprefix('eval/')}"
    return name.removeprefix("train/")


def read_early_terminate(data: Mapping[str, Json], problems: list[Problem], notes: list[str]) -> EarlyTerminate | None:
    """Read `early_terminate`; None if it is absent, or wrong."""
    if "early_terminate" not in data:
        return None
    at: RecipePath = ("early_terminate",)
    written = data["early_terminate"]
    if not isinstance(written, dict):
        what = f"a mapping expected, not {show(written)}"
        problems.append(Problem(at, what, "write `{type: hyperband, min_iter: 3}`"))
        return None
    before = len(problems)
    values = read_section(written, _EARLY, at, {}, problems)
    if "type" not in written:
        problems.append(Problem(at, "`type` is missing", "write `type: hyperband`"))
    if "min_iter" not in written and not {"max_iter", "s"} <= written.keys():
        what = "neither `min_iter`, nor `max_iter` with `s`"
        if "max_iter" in written or "s" in written:
            what = f"`{'max_iter' if 'max_iter' in written else 's'}` alone says no iteration"
        remedy = "write `min_iter: 3`, the first evaluation at which trials are compared, or `max_iter` and `s`"
        problems.append(Problem(at, what, remedy))
    elif {"min_iter", "max_iter"} <= written.keys():
        if "s" in written:
            notes.append("early_terminate.min_iter is not used: as for W&B, `max_iter` with `s` goes before it")
        else:
            notes.append(
                "early_terminate: `min_iter` and `max_iter` without `s` is read as the multiples of min_iter below "
                "max_iter; W&B fails on it"
            )
    if len(problems) > before:
        return None
    del values["type"]
    early = EarlyTerminate(**values)
    if early.s is not None and early.max_iter is not None and early.max_iter / early.eta < 1:
        what = f"max_iter {early.max_iter} / eta {early.eta:g} is below the first iteration"
        problems.append(Problem(at, what, "write a larger max_iter"))
    return early
