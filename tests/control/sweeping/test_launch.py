"""What `sweep launch` checks, decides and says before anything starts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.backends.base import ResourceOptions
from runner.control.sweeping.define import SweepOptions
from runner.control.sweeping.launch import PreparedSweep, describe_rule, prepare_sweep
from runner.errors import UserError
from runner.storage.store import Store

SWEEP: dict[str, Any] = {
    "program": "quickstart",
    "method": "random",
    "metric": {"name": "eval/loss", "goal": "minimize"},
    "run_cap": 9,
    "parameters": {"learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}},
    "runner": {"rungs": [30, 60], "set": {"training.max_steps": 120}},
}


def prepared(
    store: Store, folder: Path, said: list[str] | None = None, *, content: dict[str, Any] = SWEEP, **options: Any
) -> PreparedSweep:
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    say = (lambda sentence: None) if said is None else said.append
    return prepare_sweep(store, SweepOptions(file="./sweep.yaml", cwd=folder, **options), say=say)


def with_section(**changes: Any) -> dict[str, Any]:
    """The sweep with other settings under `runner:`, and without a number of trials."""
    return {key: value for key, value in SWEEP.items() if key != "run_cap"} | {"runner": {**SWEEP["runner"], **changes}}


def test_few_workers_wait_for_each_other_and_many_do_not(memory: Store, tmp_path: Path) -> None:
    assert prepared(memory, tmp_path, parallel=2).definition.scheduler == "successive_halving"
    assert prepared(memory, tmp_path, parallel=16).definition.scheduler == "asha"
    without_end = prepared(memory, tmp_path, content=with_section(max_hours=1))
    assert without_end.definition.scheduler == "asha", "halving needs to know how many there will be"


@pytest.mark.parametrize("scheduler", ["successive_halving", "asha", "hyperband", "stop"])
def test_who_goes_on_from_a_rung_is_said_before_anything_starts(memory: Store, tmp_path: Path, scheduler: str) -> None:
    content = {**SWEEP, "runner": {**SWEEP["runner"], "scheduler": scheduler, "eta": 4}}
    said = describe_rule(prepared(memory, tmp_path, content=content).definition)
    assert said.endswith(f"(runner.scheduler: {scheduler})")
    assert "1 in 4" in said


def test_a_sweep_without_rungs_trains_to_the_end(memory: Store, tmp_path: Path) -> None:
    content = {**SWEEP, "runner": {"set": {"training.max_steps": 120}}}
    definition = prepared(memory, tmp_path, content=content).definition
    assert (definition.scheduler, list(definition.rungs), definition.max_steps) == ("none", [], 120)


@pytest.mark.parametrize(
    ("scheduler", "chosen", "strict", "words"),
    [
        (None, "stop", False, "`scheduler: stop` is W&B's rule"),
        ("stop", "stop", False, "`scheduler: stop` is W&B's rule"),
        ("asha", "asha", True, "early_terminate.strict is not used: `scheduler: asha`"),
    ],
)
def test_what_is_not_strict_is_wandbs_own_rule(
    memory: Store, tmp_path: Path, scheduler: str | None, chosen: str, strict: bool, words: str
) -> None:
    early = {"type": "hyperband", "min_iter": 2, "eta": 2, "strict": False}
    settings = {"training.max_steps": 120, "training.eval_strategy": "steps", "training.eval_steps": 10}
    section = {"set": settings, **({"scheduler": scheduler} if scheduler else {})}
    said: list[str] = []
    content = {**SWEEP, "early_terminate": early, "runner": section}
    definition = prepared(memory, tmp_path, said, content=content, parallel=2).definition
    assert (definition.scheduler, definition.strict, definition.eta) == (chosen, strict, 2)
    assert any(words in note for note in said), said


def test_what_draws_for_ever_needs_an_end(memory: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="draws for ever") as refused:
        prepared(memory, tmp_path, content=with_section(parallel=2))
    assert "run_cap" in str(refused.value.remedy)


def test_halving_that_waits_needs_a_number_of_trials(memory: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="halves a number of trials that is known"):
        prepared(memory, tmp_path, content=with_section(scheduler="successive_halving", max_hours=2))


def test_the_plan_says_trials_and_steps_of_each_rung(memory: Store, tmp_path: Path) -> None:
    assert prepared(memory, tmp_path).plan.lines() == [
        "rung 1: 9 trials to step 30, 270 steps",
        "rung 2: 3 trials to step 60, 90 steps",
        "end: 1 trial to step 120, 60 steps",
        "in all: 420 steps, 39% of the 1,080 steps of 9 whole trials",
    ]


def test_evaluations_are_set_to_hit_the_rungs_and_that_is_said(memory: Store, tmp_path: Path) -> None:
    said: list[str] = []
    sweep = prepared(memory, tmp_path, said)
    training = sweep.definition.resolved["training"]
    assert training["eval_strategy"] == "steps"
    assert all(rung % training["eval_steps"] == 0 for rung in (30, 60, 120))
    assert any("eval_steps" in sentence for sentence in said)


def test_the_command_line_counts_more_than_the_file(memory: Store, tmp_path: Path) -> None:
    content = with_section(max_cost=5, max_hours=3, parallel=2)
    definition = prepared(memory, tmp_path, content=content, max_cost=7.0, run_cap=3).definition
    assert (definition.max_cost, definition.max_hours, definition.run_cap, definition.parallel) == (7.0, 3, 3, 2)


def test_machines_of_the_file_give_way_to_this_machine(memory: Store, tmp_path: Path) -> None:
    content = {**SWEEP, "runner": {**SWEEP["runner"], "gpu": ["L4"], "use_spot": True}}
    here = prepared(memory, tmp_path, content=content, resources=ResourceOptions(infra=("local",)))
    assert here.definition.infra == "local"
    assert here.definition.prices == {}


def test_nothing_is_written_by_a_rehearsal(memory: Any, tmp_path: Path) -> None:
    prepared(memory, tmp_path)
    assert memory.data == {}


def test_a_sweeps_name_leaves_room_for_the_numbers_of_its_trials(memory: Store, tmp_path: Path) -> None:
    assert prepared(memory, tmp_path, name="mine").definition.sweep_id == "mine"
    with pytest.raises(UserError, match="use at most 90"):
        prepared(memory, tmp_path, name="a" * 91)
    content = {**SWEEP, "name": "Long name " * 20}
    assert len(prepared(memory, tmp_path, content=content).definition.sweep_id) <= 90
