"""A run that is made from another one may cost what its owner says now, or else what the other one might."""

import json
from typing import Any

import pytest

from runner.exit_codes import MISTAKE, SUCCEEDED
from support.bench import Bench

AGAIN = {"reproduce": ["reproduce", "first"], "extend": ["extend", "first", "--steps", "2"]}


@pytest.fixture
def first(bench: Bench) -> Bench:
    """A run that has ended, and might have cost 3 dollars at 2 an hour; then its owner said 4."""
    bench.recipe(learning_rate=1e-3)
    money = ["--max-cost", "3", "--hourly-cost", "2"]
    done = bench.runner("launch", "small.yaml", "--name", "first", *money, plan={"1": ["stop", 4]})
    assert done.returncode == 75, done.stderr
    assert bench.runner("resume", "first", "--max-cost", "4").returncode == SUCCEEDED
    return bench


def started(bench: Bench, command: str, *options: str) -> Any:
    """The budget of a run that is made from the first one."""
    done = bench.runner(*AGAIN[command], "--name", "again", "--detach", *options)
    assert done.returncode == SUCCEEDED, done.stderr
    return json.loads(bench.store.get("runs/again/run.json")).get("budget")


@pytest.mark.parametrize("command", AGAIN)
def test_it_costs_at_most_what_is_said(first: Bench, command: str) -> None:
    assert started(first, command, "--max-cost", "7", "--hourly-cost", "5") == {"max_cost": 7, "hourly_cost": 5}


@pytest.mark.parametrize("command", AGAIN)
def test_what_counted_for_the_other_run_in_the_end_counts_else(first: Bench, command: str) -> None:
    assert started(first, command) == {"max_cost": 4, "hourly_cost": 2}


@pytest.mark.parametrize("command", AGAIN)
def test_a_limit_that_nobody_can_keep_is_refused_before_anything_is_written(bench: Bench, command: str) -> None:
    bench.recipe(learning_rate=1e-3)
    assert bench.runner("launch", "small.yaml", "--name", "first").returncode == SUCCEEDED
    done = bench.runner(*AGAIN[command], "--name", "again", "--max-cost", "7")
    assert done.returncode == MISTAKE, done.stderr
    assert "--max-cost: nothing is known of what this machine costs" in done.stderr
    assert bench.store.folders("runs/") == ["first"]


@pytest.mark.parametrize("options", [["--max-cost", "7"], ["--secret", "TOKEN"], ["--gpu", "L4"], ["--name", "again"]])
def test_options_of_a_launch_are_refused_where_nothing_is_launched(bench: Bench, options: list[str]) -> None:
    bench.submit("first")
    bench.submit("other")
    done = bench.runner("reproduce", "first", "--against", "other", *options)
    assert done.returncode == MISTAKE
    assert "nothing is launched with it" in done.stderr
