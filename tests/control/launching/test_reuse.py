"""A launch with a name resumes what can be resumed, and says why it does or does not."""

import json
from typing import Any

import pytest

from runner.control.launching.reuse import changes, choose_by_name, find_interrupted_run
from runner.control.launching.submit import submit
from runner.errors import UserError
from runner.runs.submission.run_json import run_json
from support.bench import Bench

RECIPE = {"name": "small", "training": {"learning_rate": 1e-3, "max_steps": 10}}
OTHER = {"name": "small", "training": {"learning_rate": 2e-3, "max_steps": 10}}


def make(
    bench: Bench, run_id: str, state: str, recipe: dict[str, Any] = RECIPE, *, created: str = "2026-01-01"
) -> None:
    document = run_json(
        run_id=run_id,
        recipe=recipe,
        settings={},
        recipe_digest=json.dumps(recipe),
        git_revision=None,
        created_at=f"{created}T00:00:00+00:00",
    )
    assert submit(bench.store, document, {})
    if state in ("succeeded", "failed", "cancelled"):
        bench.store.create(f"runs/{run_id}/result.json", json.dumps({"state": state, "attempts": 0}).encode())
    if state in ("running", "interrupted"):
        claim = {"token": "0001-aaaa", "number": 1, "host": "elsewhere", "boot_id": "b", "pid": 1}
        bench.store.create(f"runs/{run_id}/attempts/0001.json", json.dumps(claim).encode())
    if state == "interrupted":
        ended = {"token": "0001-aaaa", "exit_code": 75, "outcome": "interrupted", "reason": "preempted", "retry": True}
        bench.store.create(f"runs/{run_id}/attempts/0001.ended.json", json.dumps(ended).encode())


def choose(bench: Bench, recipe: dict[str, Any] = RECIPE) -> tuple[str, bool, str]:
    choice = choose_by_name(bench.store, "try", recipe, json.dumps(recipe))
    return choice.run_id, choice.exists, choice.why or ""


def test_a_new_name_is_a_new_run_and_nothing_is_said(bench: Bench) -> None:
    assert choose(bench) == ("try", False, "")


@pytest.mark.parametrize("state", ["pending", "interrupted"])
def test_the_same_settings_go_on(bench: Bench, state: str) -> None:
    make(bench, "try", state)
    run_id, exists, why = choose(bench)
    assert (run_id, exists) == ("try", True)
    assert f"is {state}: resuming it" in why


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_an_ended_run_is_followed_by_a_new_one(bench: Bench, state: str) -> None:
    make(bench, "try", state)
    run_id, exists, why = choose(bench)
    assert (run_id, exists) == ("try-2", False)
    assert state in why


def test_changed_settings_are_a_new_run_and_the_changes_are_named(bench: Bench) -> None:
    make(bench, "try", "interrupted")
    run_id, exists, why = choose(bench, OTHER)
    assert (run_id, exists) == ("try-2", False)
    assert "training.learning_rate: 0.001 -> 0.002" in why


def test_going_back_to_the_old_settings_goes_on_with_the_old_run(bench: Bench) -> None:
    make(bench, "try", "interrupted", RECIPE)
    make(bench, "try-2", "interrupted", OTHER)
    assert choose(bench, RECIPE)[:2] == ("try", True)
    assert choose(bench, OTHER)[:2] == ("try-2", True)


@pytest.mark.parametrize("recipe", [RECIPE, OTHER])
def test_a_running_run_is_in_the_way(bench: Bench, recipe: dict[str, Any]) -> None:
    make(bench, "try", "running")
    with pytest.raises(UserError, match="running") as refused:
        choose(bench, recipe)
    assert "runner logs -f try" in str(refused.value)


def test_the_newest_interrupted_run_of_the_same_recipe_is_pointed_out(bench: Bench) -> None:
    make(bench, "small-20260101-000000-aaaa", "interrupted", created="2026-01-01")
    make(bench, "small-20260103-000000-bbbb", "interrupted", created="2026-01-03")
    make(bench, "small-20260104-000000-cccc", "interrupted", OTHER, created="2026-01-04")
    make(bench, "small-20260105-000000-dddd", "succeeded", created="2026-01-05")
    make(bench, "small-20260106-000000-eeee", "running", created="2026-01-06")
    assert find_interrupted_run(bench.store, "small", json.dumps(RECIPE)) == "small-20260103-000000-bbbb"
    assert find_interrupted_run(bench.store, "small", "another") is None
    assert find_interrupted_run(bench.store, "large", json.dumps(RECIPE)) is None


def test_changes_are_named_by_their_path() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": [{"path": "x"}], "same": None}
    after = {"a": {"b": 2, "c": [1, 3]}, "d": [{"path": "y"}, {"path": "z"}], "same": None, "new": True}
    assert changes(before, after) == [
        "a.b: 1 -> 2",
        "a.c: [1, 2] -> [1, 3]",
        "d[0].path: x -> y",
        "d[1].path: (unset) -> z",
        "new: (unset) -> True",
    ]
