"""The key `runner:` of a sweep's file."""

import itertools
from collections.abc import Mapping

from runner.recipe.problems import Problem, show
from runner.recipe.recipe import Json
from runner.sweeps.space.file import RunnerSection
from runner.sweeps.space.reading.sections import ABOVE_0, FLAG, Kind, read_section, whole

_RUNNER = {
    "parallel": whole(1),
    "gpu": Kind("a GPU's name, or a list of them", (str,), many=True),
    "infra": Kind("a cloud, region or backend, or a list of them", (str,), many=True),
    "use_spot": FLAG,
    "max_hourly_cost": ABOVE_0,
    "trials_per_gpu": whole(1),
    "gpus_per_trial": whole(1),
    "max_cost": ABOVE_0,
    "max_hours": ABOVE_0,
    "rungs": Kind("a list of steps, such as [30, 60]", (int,), least=1, many=True),
    "eta": Kind("a number above 1", (int, float), above=1),
    "scheduler": Kind("", (str,), choices=("successive_halving", "asha", "hyperband", "stop", "none")),
    "schedule": Kind("", (str,), choices=("full", "rung")),
    "seed": whole(0),
    "retries": whole(0),
    "set": Kind("a mapping of settings", (dict,)),
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


def read_runner(data: Mapping[str, Json], problems: list[Problem]) -> RunnerSection:
    """Read what is right of `runner:`; what is absent has its default."""
    written = data.get("runner", {})
    if not isinstance(written, dict):
        problems.append(Problem(("runner",), f"a mapping expected, not {show(written)}", "write `{parallel: 4}`"))
        return RunnerSection()
    values = read_section(written, _RUNNER, ("runner",), _OTHER_RUNNER, problems)
    rungs = values.get("rungs")
    if rungs is not None and any(later <= one for one, later in itertools.pairwise(rungs)):
        what = f"{', '.join(map(str, rungs))} do not ascend"
        problems.append(Problem(("runner", "rungs"), what, f"write {sorted(set(rungs))}"))
    if values.get("trials_per_gpu", 1) > 1 and values.get("gpus_per_trial", 1) > 1:
        what = "trials share a GPU or have several, and not both"
        problems.append(Problem(("runner", "gpus_per_trial"), what, "keep one of the two"))
    return RunnerSection(**values)
