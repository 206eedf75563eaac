"""How important parameters are: by the ranks of trials, as Optuna has it."""

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from runner.sweeps.views.importance import LEAST_TRIALS, importances
from runner.sweeps.views.overview import Overview, make_overview
from support.sweeping.story import NAN, Story

LOGARITHMIC = {"parameters": [{"name": "rate", "distribution": {"name": "log_uniform_values"}}]}


@pytest.mark.parametrize("count", [30, 200])
def test_the_shares_are_those_of_optunas_ped_anova(count: int) -> None:
    optuna = pytest.importorskip("optuna")
    drawn = [_values(random.Random(number)) for number in range(count)]
    scores = [_score(values) for values in drawn]
    found = importances(_finished(drawn, scores))
    assert found is not None
    rates = [values["rate"] for values in drawn]
    noises = [values["noise"] for values in drawn]
    distributions = {
        "rate": optuna.distributions.FloatDistribution(min(rates), max(rates), log=True),
        "noise": optuna.distributions.FloatDistribution(min(noises), max(noises)),
        "kind": optuna.distributions.CategoricalDistribution(["a", "b", "c"]),
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for values, score in zip(drawn, scores, strict=True):
        study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, value=score))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=found.best / count)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert {one.name: one.share for one in found.parameters} == pytest.approx(expected, rel=1e-6)


def test_what_matters_stands_out_of_what_chance_makes_and_the_rest_does_not() -> None:
    drawn = [_values(random.Random(number)) for number in range(300)]
    found = importances(_finished(drawn, [_score(values) for values in drawn]))
    assert found is not None
    assert (found.trials, found.best) == (300, 30)
    rate, *others = found.parameters
    assert rate.name == "rate"
    assert rate.share > 5 * rate.by_chance
    noise = next(one for one in others if one.name == "noise")
    assert noise.share < 2 * noise.by_chance
    assert all(abs(math.log10(value) + 3.5) < 0.5 for value in rate.best)


def test_where_more_is_better_the_best_are_those_with_more() -> None:
    drawn = [{"rate": number / 40} for number in range(40)]
    found = importances(_finished(drawn, [values["rate"] for values in drawn], goal="maximize"))
    assert found is not None
    assert list(found.parameters[0].best) == [39 / 40, 38 / 40, 37 / 40, 36 / 40, 35 / 40]


def test_trials_that_diverged_are_the_worst_and_those_that_failed_otherwise_do_not_count() -> None:
    story = Story("w", max_steps=400, retries=0)
    for number in range(30):
        story.tell({"event": "drawn", "trial": number, "values": {"rate": float(number)}})
        if number < 10:
            story.reach({number: 1.0 + number})
        elif number < 20:
            story.fail(number)
        elif number < 25:
            story.fail(number, kind="mistake", reason="a typing error")
        else:
            story.reach({number: NAN})
    found = importances(_overview(story))
    assert found is not None
    assert found.trials == 25
    assert list(found.parameters[0].best) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_trials_of_brackets_are_compared_within_their_bracket() -> None:
    story = Story("w", scheduler="hyperband", rungs=(100,), max_steps=400, run_cap=20)
    for number in range(20):
        bracket = number % 2
        values = {"rate": float(number)}
        story.tell({"event": "drawn", "trial": number, "values": values, "bracket": bracket, "rung": bracket})
        story.reach({number: 1.0 + number})
    found = importances(_overview(story))
    assert found is not None
    assert sorted(found.parameters[0].best)[:4] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("drawn", [[{"rate": 0.1 * n} for n in range(LEAST_TRIALS - 1)], [{"rate": 0.1}] * 20])
def test_of_few_trials_and_of_what_is_always_the_same_nothing_is_told(drawn: list[dict[str, Any]]) -> None:
    assert importances(_finished(drawn, [1.0 + number for number in range(len(drawn))])) is None


def _values(draw: random.Random) -> dict[str, Any]:
    return {"rate": 10 ** draw.uniform(-5, -2), "noise": draw.random(), "kind": draw.choice(["a", "b", "c"])}


def _score(values: dict[str, Any]) -> float:
    return (math.log10(values["rate"]) + 3.5) ** 2 + 0.3 * (values["kind"] == "a") + 0.01 * values["noise"]


def _finished(drawn: Sequence[dict[str, Any]], scores: Sequence[float], **changes: Any) -> Overview:
    story = Story("w", max_steps=400, space=LOGARITHMIC, **changes)
    for number, (values, score) in enumerate(zip(drawn, scores, strict=True)):
        story.tell({"event": "drawn", "trial": number, "values": values})
        story.reach({number: score})
    return _overview(story)


def _overview(story: Story) -> Overview:
    return make_overview(story.definition, story.state, now=datetime(2026, 1, 1, 5, tzinfo=UTC))
