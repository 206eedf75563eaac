"""The benchmarks of sweeps in their small form, and the ports of others' rules in cases that can be checked by hand."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from support.paths import ROOT

FOLDER = ROOT / "benchmarks" / "sweeps"


def run(script: str, *arguments: str) -> tuple[str, Any]:
    """Run a script as a user does; return what it prints for people, and its figures."""
    process = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments, "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    *lines, last = process.stdout.splitlines()
    return "\n".join(lines), json.loads(last)


def ask(program: str) -> Any:
    """Return what a program beside the benchmarks prints as JSON."""
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.thorough
def test_halving_needs_far_less_than_random_search() -> None:
    text, figures = run("halving.py", "--tasks", "2", "--seeds", "4")
    assert "2 tasks x 4 seeds, 8 workers" in text
    assert len(figures) == 11
    means = {name: sum(hours) / len(hours) for name, hours in figures.items()}
    assert all(len(hours) == 8 for hours in figures.values())
    assert means["runner: successive halving of 27"] < means["random, to the end"] / 2
    assert means["runner: asha (delayed, promotes)"] < means["random, to the end"] / 2


@pytest.mark.thorough
def test_frequent_checkpoints_pay() -> None:
    text, ratios = run("preemption.py", "--days", "1", "--seeds", "1")
    assert "16 slots, 1 days" in text
    ours, half_hour, hour = (
        ratios[name] for name in ("runner, every 5 minutes", "naive, every 30 minutes", "naive, every 60 minutes")
    )
    assert 1 < ours < half_hour < hour


def test_the_table_of_lcbench_is_whole() -> None:
    program = """
import json
from tables import lcbench
print(json.dumps([
    [table.losses.shape, len(table.best(0.01)), float(table.losses.min()), float(table.seconds.min())]
    for table in lcbench()
]))
"""
    tables = ask(program)
    assert [table[:2] for table in tables] == [[[2000, 52], 20]] * 8
    assert all(loss > 0 and seconds >= 1 for _, _, loss, seconds in tables)


def test_the_ports_decide_as_the_originals_do() -> None:
    """Losses come to the first rung in order; which go on is what the rules as they are published give."""
    program = """
import json
from contenders import RayAsha, Segment, WandbHyperband
def first(port):
    kept = []
    for trial, loss in enumerate([5.0, 6.0, 4.0, 4.5, 3.0, 9.0]):
        port.report(Segment(trial, 0, 0, 2), f"w{trial}", loss, 0.0)
        kept.append(f"w{trial}" in port._next)
    return kept, sorted(segment.trial for segment in port._next.values())
print(json.dumps([first(RayAsha([2, 6, 18], 52, 10, 0)), first(WandbHyperband([2, 6, 18], 52, 10, 0))]))
"""
    ray, wandb = ask(program)
    # Ray: at least the 67th percentile of the rewards before. For trial 3: 1/3 of the way from -5 to -4, so -4.5 does.
    assert ray == [[True, False, True, True, True, False], [0, 2, 3, 4]]
    # W&B: at most the loss at n/3 of all, itself included. With 3, it is 4.5, and 0 falls behind; with 4, 4.0, and 3.
    assert wandb == [[True, False, True, True, True, False], [2, 4]]


@pytest.mark.thorough
def test_no_trial_is_lost_however_many_machines_are() -> None:
    text, figures = run("scale.py", "--trials", "500", "--machines", "50")
    assert "500 trials on 50 machines" in text
    assert len(figures["tenths"]) == 10
    assert figures["lost"] > 10
