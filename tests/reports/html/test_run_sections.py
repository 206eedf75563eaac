"""Sections of the report of a single run, of runs that are old, under way, failed, or of several stages."""

import re
from typing import Any

from runner.reports.html.markup import text
from runner.reports.html.run_sections import data, generations, lineage, machine, measurements, settings, time_and_cost
from runner.runs.layout import CheckpointName
from runner.runs.measured.spending import AttemptSpending, Spending
from support.reported import attempt, details


def test_a_run_of_which_little_is_known_has_no_empty_sections() -> None:
    little = details()
    for make in (measurements, generations, settings, data, time_and_cost, machine):
        assert text(make(little)) == ""
    assert "runner reproduce first" in text(lineage(little))
    assert "runner pull" not in text(lineage(little))


def test_a_run_under_way_shows_what_it_measured_and_generated_before_training() -> None:
    sample = {"prompt": "Why?", "text": "early"}
    record = {"kind": "eval", "stage": "sft", "step": 0, "phase": "before", "generations": [sample]}
    running = details(run={"before": {"eval_loss": 4.0}}, records=[record])
    assert "Why?|early|-" in _cells(generations(running))
    assert "evaluation loss|4.0000|-|-" in _cells(measurements(running))


def test_each_of_several_stages_has_its_own_measurements_and_generations() -> None:
    stages: list[dict[str, Any]] = [
        {
            "stage": name,
            "before": {"eval_loss": 4.0},
            "after": {"eval_loss": after},
            "generations": [{"prompt": "Why?", "before": "early", "after": name}],
        }
        for name, after in (("sft", 2.0), ("dpo", 1.0))
    ]
    trained = details(result={"stages": stages, "after": {"eval_loss": 1.0}})
    assert "in the stage sft" in text(measurements(trained))
    assert "evaluation loss|4.0000|2.0000|-50.0%" in _cells(measurements(trained))
    assert "evaluation loss|4.0000|1.0000|-75.0%" in _cells(measurements(trained))
    assert "Why?|early|dpo" in _cells(generations(trained))


def test_an_older_run_shows_its_settings_without_their_sources() -> None:
    old = details(run={"settings": {"training.max_steps": 10, "training.hub_token": "confidential"}})
    assert "training.max_steps|10" in _cells(settings(old))
    assert "confidential" not in _cells(settings(old))


def test_each_attempt_has_its_time_its_cost_and_why_it_ended() -> None:
    ended = {"outcome": "interrupted", "reason": "the <spot> machine was taken away"}
    spent = {"started_at": None, "machines": 2, "useful_seconds": None}
    first = AttemptSpending(
        number=1, seconds=3600.0, dollars=1.0, price=0.5, source="a catalog", outcome="interrupted", **spent
    )
    second = AttemptSpending(number=2, seconds=60.0, dollars=None, price=None, source=None, outcome="killed", **spent)
    attempts = [attempt(1, ended=ended), attempt(2, restored=CheckpointName("sft", 300, "0001-aaaa"))]
    shown = time_and_cost(details(attempts=attempts, spending=Spending(attempts=(first, second))))
    assert "1|-|the beginning|interrupted|the &lt;spot&gt; machine was taken away|1h 0m|2|0.50|$1.00" in _cells(shown)
    assert "2|-|sft, step 300|killed|-|1m 0s|2|-|no price" in _cells(shown)
    assert "$1.00 and the time that has no price; prices: a catalog" in text(shown)


def test_machines_that_are_the_same_are_shown_once() -> None:
    one = {"token": "a", "host": "far", "cpus": 8, "gpus": [], "versions": {"torch": "2.9.0"}}
    shown = text(machine(details(machines={1: one, 2: {**one, "token": "b"}, 3: {**one, "host": "near"}})))
    assert "The machine of attempts 1, 2" in shown
    assert "The machine of attempt 3" in shown


def test_where_a_run_comes_from_is_said() -> None:
    origin = {"kind": "extend", "run_id": "earlier", "step": 300, "learning_rate": None}
    document = {"lineage": origin, "code": {"git_revision": "a" * 40, "dirty": True, "diff_key": "inputs/x/diff"}}
    shown = _cells(lineage(details(document=document)))
    assert "goes on from|earlier" in shown
    assert "step|300" in shown
    assert "learning rate" not in shown
    assert "with changes that were not committed, kept in the store" in shown


def _cells(content: Any) -> str:
    """The texts of a section, the cells of a row with ``|`` between them."""
    return re.sub(r"<[^>]*>", "", re.sub(r"</t[hd]><t[hd]\b[^>]*>", "|", text(content)))
