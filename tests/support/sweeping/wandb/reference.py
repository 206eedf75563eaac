"""Answer as W&B's own package does: run by the interpreter of `.venv-wandb-sweeps`, never imported by a test.

Reads a JSON list of questions from standard input and writes the list of answers. A question is one of
``{"config": {…}, "quantiles": [0.1, …]}``: the values of a parameter there; ``{"sweep": {…}, "points": 100}``: the
first points of a grid; ``{"verdict": {…}}``: what is wrong with a file; ``{"bands": {…}}``: the iterations of
`early_terminate`, for a sweep's file; ``{"stop": {…}, "histories": [[…], …]}``: whether the last of these runs, the
only one that still runs, is stopped.
"""

import json
import logging
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")
logging.disable()

import numpy  # noqa: E402
from sweeps.config import schema_violations_from_proposed_config  # noqa: E402
from sweeps.grid_search import grid_search_next_runs  # noqa: E402
from sweeps.hyperband_stopping import hyperband_stop_runs  # noqa: E402
from sweeps.params import HyperParameter  # noqa: E402
from sweeps.run import RunState, SweepRun  # noqa: E402


def answer(question: dict[str, Any]) -> Any:
    """Return the answer to one question; ``{"error": …}`` where the package raises."""
    try:
        if "config" in question:
            parameter = HyperParameter("parameter", question["config"])
            return {"type": parameter.type, "values": [parameter.ppf(u) for u in question["quantiles"]]}
        if "sweep" in question:
            runs = grid_search_next_runs([], question["sweep"], n=question["points"])
            return [None if run is None else run.config for run in runs]
        if "verdict" in question:
            return schema_violations_from_proposed_config(question["verdict"])
        if "stop" in question:
            *others, own = question["histories"]
            runs = [SweepRun(state=RunState.finished, history=[{"loss": value} for value in one]) for one in others]
            runs.append(SweepRun(state=RunState.running, history=[{"loss": value} for value in own]))
            return bool(hyperband_stop_runs(runs, question["stop"]))
        run = SweepRun(name="a", state=RunState.running, history=[{"loss": 1.0}] * 3)
        hyperband_stop_runs([run], question["bands"])
        return run.early_terminate_info["bands"]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the package's answer
        return {"error": f"{type(error).__name__}: {error}"}


def plain(value: Any) -> Any:
    """Return numpy's numbers as Python's."""
    if isinstance(value, numpy.generic | numpy.ndarray):
        return value.tolist()
    raise TypeError(type(value))


if __name__ == "__main__":
    json.dump([answer(question) for question in json.load(sys.stdin)], sys.stdout, default=plain)
