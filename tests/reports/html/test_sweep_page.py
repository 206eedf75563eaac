"""The report of a sweep."""

import dataclasses
import re
from datetime import UTC, datetime
from typing import Any

from runner.reports.comparison import compare_runs
from runner.reports.html.parallel import parallel_coordinates
from runner.reports.html.runs_page import runs_page
from runner.reports.html.sweep_charts import best_so_far, importance, way
from runner.reports.html.sweep_sections import rungs, savings, standing, trials
from runner.sweeps.views.overview import Overview, leaderboard, make_overview
from support.reported import details
from support.sweeping.story import NAN, Story

LOGARITHMIC = {"parameters": [{"name": "rate", "distribution": {"name": "log_uniform_values"}}]}
EVIL = "</script><b>"


def test_the_best_so_far_is_of_trials_trained_to_their_end_and_never_gets_worse() -> None:
    story = _story()
    made = best_so_far(_overview(story))
    assert made is not None
    line, points = made[1]["layer"]
    assert [(one["trial"], one["value"]) for one in line["data"]["values"]] == [(0, 2.0), (2, 1.0), (3, 1.0)]
    assert {one["trial"]: one["kind"] for one in points["data"]["values"]} == {
        0: "trained to its end",
        1: "trained in part",
        2: "trained to its end",
        3: "trained to its end",
    }


def test_parallel_coordinates_have_each_value_at_its_place_of_its_own_axis() -> None:
    made = parallel_coordinates(_overview(_story()))
    assert made is not None
    lines, ends = made[1]["layer"]
    places = {
        (one["trial"], axis): at
        for one in lines["data"]["values"]
        for axis, at in zip(one["axis"], one["at"], strict=True)
    }
    assert [places[trial, "0"] for trial in range(4)] == [0.0, 0.5, 1.0, 0.25]
    assert [places[trial, "1"] for trial in range(4)] == [0.0, 1.0, 0.0, 1.0]
    assert places[2, "2"] == 0.0
    assert [one["text"] for one in ends["data"]["values"][:4]] == ["1.0e-04", "0.010", "</script><b>", "adam"]
    assert lines["transform"] == [{"flatten": ["axis", "at"]}]
    assert '["rate", "optimizer", "eval_loss"]' in lines["encoding"]["x"]["axis"]["labelExpr"]


def test_the_way_of_the_best_is_said_rung_by_rung() -> None:
    made = way(_overview(_story()))
    assert made is not None
    points, lines, best = made[1]["layer"]
    assert len(points["data"]["values"]) == 7
    assert {one["trial"] for one in lines["data"]["values"]} == {0, 2, 3}
    assert [(one["step"], one["value"]) for one in best["data"]["values"]] == [(100, 1.5), (400, 1.0)]
    assert _rows(made[0]) == [["100", "1.50000", "1st of 4", "1.50000"], ["400", "1.00000", "1st of 3", "1.00000"]]


def test_the_place_at_a_rung_is_among_those_that_came_to_it() -> None:
    overview = _overview(_story())
    third = next(row.trial for row in overview.trials if row.trial.number == 3)
    made = way(dataclasses.replace(overview, best=third))
    assert made is not None
    assert [row[2] for row in _rows(made[0])] == ["3rd of 4", "3rd of 3"]


def test_importance_says_what_the_best_trials_have() -> None:
    story = Story("w", max_steps=400, space=LOGARITHMIC)
    for number in range(40):
        _draw(story, number, rate=10 ** -(1 + number / 10), optimizer=EVIL if number % 2 else "adam")
        story.reach({number: 1.0 + number})
    made = importance(_overview(story))
    assert made is not None
    rate, optimizer = _rows(made[0])
    assert (rate[0], rate[3]) == ("rate", "0.0398 to 0.1000")
    assert optimizer[3] == "adam (3), &lt;/script&gt;&lt;b&gt; (2)"
    assert made[1]["layer"][0]["mark"]["type"] == "bar"


def test_every_trial_says_why_it_stopped_and_the_saving_is_said() -> None:
    overview = _overview(_story())
    shown = str(trials(overview))
    for row in overview.trials:
        assert row.why in shown
    assert "&lt;/script&gt;" in shown
    assert EVIL not in shown
    assert "4th of 4 at step 100" in shown
    assert ">100<" in str(rungs(overview))
    saved = str(savings(overview))
    assert "1,300" in saved  # three trained for 400 steps, one for 100
    assert "1,600" in saved


def test_a_sweep_of_which_nothing_is_known_yet_has_a_page() -> None:
    story = Story(scheduler="asha", rungs=(100,), max_steps=400)
    for _ in range(2):
        overview = _overview(story)
        for make in (best_so_far, parallel_coordinates, importance, way, savings):
            assert make(overview) is None
        assert standing(overview)
        assert "sweep" in runs_page(compare_runs([details().run]), None, overview)
        story.draw(0, 1)
        story.tell({"event": "joined", "worker": "w", "dollars_per_hour": 1.0})


def test_the_page_of_500_trials_is_small() -> None:
    story = Story("w", max_steps=400)
    for number in range(500):
        _draw(story, number, rate=1e-4 * (1 + number), optimizer="adam", **{f"p{index}": index for index in range(8)})
        story.reach({number: NAN if number == 7 else 1.0 + number % 50})
    page = runs_page(compare_runs([details().run]), None, _overview(story))
    assert len(page) < 3_000_000


def _rows(section: str) -> list[list[str]]:
    """The texts of the cells of a section's table."""
    body = re.search(r"<tbody.*?</tbody>", section)
    assert body is not None
    return [re.findall(r"<span>(.*?)</span>", row) for row in body[0].split("</tr>")[:-1]]


def _story() -> Story:
    """Four trials, of which three are trained to their end."""
    story = Story("w", scheduler="asha", rungs=(100,), max_steps=400, eta=2.0, run_cap=4, space=LOGARITHMIC)
    drawn = [(1e-4, EVIL), (1e-3, "adam"), (1e-2, EVIL), (10**-3.5, "adam")]
    for number, (rate, optimizer) in enumerate(drawn):
        _draw(story, number, rate=rate, optimizer=optimizer)
    story.reach({0: 2.5, 1: 9.0, 2: 1.5, 3: 3.5})
    for number, value in {0: 2.0, 2: 1.0, 3: 3.0}.items():
        story.tell({"event": "promoted", "trial": number, "until": None})
        story.reach({number: value})
    return story


def _draw(story: Story, number: int, **values: Any) -> None:
    story.tell({"event": "drawn", "trial": number, "values": values})


def _overview(story: Story) -> Overview:
    overview = make_overview(story.definition, story.state, now=datetime(2026, 1, 1, 5, tzinfo=UTC))
    return dataclasses.replace(overview, trials=leaderboard(overview))
