"""W&B's own package and ours mean the same by a sweep's file: values at quantiles, grids, refusals, bands, stops.

The quick tests compare with answers that were written down (`answers.json`); the thorough one asks the package itself.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from runner.sweeps.space.distributions import Distribution
from runner.sweeps.space.file import EarlyTerminate
from runner.sweeps.space.parameters import read_parameters
from runner.sweeps.space.rungs import bands
from runner.sweeps.space.space import Parameter, Space
from support.sweeping.story import Story
from support.sweeping.wandb.questions import all_questions, ask, is_installed, written_answers


def test_written_answers_of_wandb_are_ours() -> None:
    pairs = written_answers()
    assert len(pairs) == 150
    compared = [_compare(question, answer) for question, answer in pairs]
    assert sum(compared) > 130  # the others are those that W&B refuses, and the like


@pytest.mark.thorough
@pytest.mark.skipif(not is_installed(), reason="`make .venv-wandb-sweeps/.installed` installs W&B's package")
def test_wandb_itself_answers_as_ours_does() -> None:
    questions = all_questions(1, 400)
    compared = [_compare(question, answer) for question, answer in zip(questions, ask(questions), strict=True)]
    assert sum(compared) > 1800


def _compare(question: Mapping[str, Any], answer: Any) -> bool:
    """Compare an answer with ours; returns whether there was something to compare."""
    if "config" in question:
        return _compare_values(question["config"], question["quantiles"], answer)
    if "sweep" in question:
        return _compare_grids(question["sweep"]["parameters"], answer)
    if "verdict" in question:
        return _compare_verdicts(question["verdict"]["parameters"], answer)
    if "stop" in question:
        return _compare_stops(question["stop"], question["histories"], stopped=answer)
    written = question["bands"]["early_terminate"]
    early = EarlyTerminate(**{key: value for key, value in written.items() if key != "type"})
    if isinstance(answer, dict):  # W&B fails on a first band below 1, and so has no answer
        assert early.max_iter is not None
        assert early.max_iter / early.eta < 1
        return False
    below = 10_000
    assert bands(early, below) == sorted({band for band in answer if band < below}), question
    return True


def _compare_stops(sweep: Mapping[str, Any], histories: Sequence[Sequence[float]], *, stopped: bool) -> bool:
    early, goal = sweep["early_terminate"], sweep["metric"].get("goal", "minimize")
    rule = {"scheduler": "stop", "eta": float(early["eta"]), "strict": early["strict"], "goal": goal}
    story = Story("w", rungs=(early["min_iter"],), max_steps=1000, **rule)
    story.draw(*range(len(histories)))
    for trial, history in enumerate(histories):
        best = (min if goal == "minimize" else max)(history)
        story.reach({trial: history[-1]}, bests={trial: best})
    assert (story.state.trials[len(histories) - 1].state == "paused") == stopped, (sweep, histories)
    return True


def _compare_values(config: Mapping[str, Any], quantiles: Sequence[float], answer: Any) -> bool:
    read = read_parameters({"parameter": config})
    if "values" not in answer:
        assert read.problems, (config, answer)
        return False
    assert not read.problems, (config, read.problems)
    [written] = read.parameters
    for u, theirs in zip(quantiles, answer["values"], strict=True):
        ours = written.distribution.at(u)
        assert type(ours) is type(theirs), (config, u, ours, theirs)
        assert _is_same(ours, theirs, written.distribution, u), (config, u, ours, theirs)
    return True


def _is_same(ours: Any, theirs: Any, distribution: Distribution, u: float) -> bool:
    """Exactly equal, but for logarithms and the like, of which two libraries round the last digit differently."""
    if ours == theirs:
        return True
    name, settings = distribution.name, distribution.settings
    if name.startswith("q_"):  # a half is rounded to either side
        quotient = Distribution(name.removeprefix("q_"), settings).at(u) / settings["q"]
        return abs(quotient % 1 - 0.5) < 1e-9 and abs(ours - theirs) <= settings["q"] * (1 + 1e-9)
    if name in ("constant", "categorical", "categorical_w_probabilities", "int_uniform", "uniform"):
        return False
    if name == "beta" and u < 1e-6:  # there scipy's own is wrong: its cdf at that value is not u
        return True
    return math.isclose(ours, theirs, rel_tol=1e-11, abs_tol=1e-12)


def _compare_grids(tree: Mapping[str, Any], answer: Any) -> bool:
    read = read_parameters(tree)
    if read.problems:  # the same dotted name flat and nested, which is two for W&B and one for us
        assert all("written twice" in problem.what for problem in read.problems), (tree, read.problems)
        return False
    space = Space(tuple(Parameter(one.name, one.name, one.distribution) for one in read.parameters))
    grid = space.grid()
    assert grid is not None
    theirs = [{one.name: _value_at(point, one.at) for one in read.parameters} for point in answer if point is not None]
    ours = [grid.point(index) for index in range(min(grid.size, len(answer)))]
    assert [repr(point) for point in ours] == [repr(point) for point in theirs], tree
    return True


def _value_at(config: Mapping[str, Any], at: Sequence[str | int]) -> Any:
    first, *others = [key for key in at if key != "parameters"]
    value = config[str(first)]["value"]
    for key in others:
        value = value[key]
    return value


def _compare_verdicts(parameters: Mapping[str, Any], answer: Any) -> bool:
    read = read_parameters(parameters)
    if answer:  # what is wrong, or what the package raised
        assert read.problems, (parameters, answer)
    elif read.problems:  # a distribution of no width, whose values are not numbers for W&B
        config = parameters["parameter"]
        assert any(config.get(key) == 0 for key in ("sigma", "a", "b")), (parameters, read.problems)
    return True
