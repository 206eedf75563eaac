"""`sweep change`: what is still to be drawn comes from another space, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest

from runner.control.sweeping.change import change_sweep
from runner.errors import UserError
from runner.storage.store import Store
from runner.sweeps.controller import Controller
from runner.sweeps.journal import Journal
from support.sweeping.launched import SWEEP, launched, tell, trained, write_file
from support.sweeping.story import START


def values_of_next_trial(store: Store, definition: Any) -> dict[str, Any]:
    """What another worker draws."""
    journal = Journal(store, definition, by="test")
    controller = Controller(definition)
    journal.append(lambda state: controller.next_work(state, f"w{state.number}", now=START)[1])
    return dict(journal.state.trials[max(journal.state.trials)].values)


def test_the_next_trial_comes_from_the_new_space_and_the_last_stays(memory: Store, tmp_path: Path) -> None:
    definition = launched(memory, tmp_path)
    first = values_of_next_trial(memory, definition)
    parameters = {**SWEEP["parameters"], "lora_r": {"values": [16]}}
    changed = change_sweep(memory, "sweep", write_file(tmp_path, parameters=parameters, run_cap=20), cwd=tmp_path)
    assert changed.lines == [
        "lora_r: categorical(values [16]) (was categorical(values [4, 8]))",
        "run_cap: 20 (was 9)",
    ]
    assert values_of_next_trial(memory, definition)["lora_r"] == 16
    state = Journal(memory, definition, by="test").catch_up()
    assert dict(state.trials[0].values) == first
    assert state.run_cap == 20


def test_the_same_file_changes_nothing(memory: Store, tmp_path: Path) -> None:
    definition = launched(memory, tmp_path)
    assert change_sweep(memory, "sweep", "./sweep.yaml", cwd=tmp_path).lines == []
    assert Journal(memory, definition, by="test").catch_up().number == 0


def test_parameters_come_and_go(memory: Store, tmp_path: Path) -> None:
    launched(memory, tmp_path)
    parameters = {"lora_r": {"values": [4, 8]}, "weight_decay": {"values": [0.0, 0.1]}}
    lines = change_sweep(memory, "sweep", write_file(tmp_path, parameters=parameters), cwd=tmp_path).lines
    assert [line.partition(":")[0] for line in lines] == [
        "learning_rate is not drawn any more",
        "weight_decay is new",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": {"name": "train/loss", "goal": "minimize"}}, "it has the metric loss"),
        ({"metric": {"name": "eval/loss", "goal": "maximize"}}, r"eval_loss \(maximize\)"),
        ({"parameters": {"learning_rat": {"values": [1e-3]}}}, "learning_rat"),
    ],
)
def test_a_file_of_another_sweep_is_refused(
    memory: Store, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    definition = launched(memory, tmp_path)
    with pytest.raises(UserError, match=message):
        change_sweep(memory, "sweep", write_file(tmp_path, **changes), cwd=tmp_path)
    assert Journal(memory, definition, by="test").catch_up().number == 0


def test_files_that_were_not_there_at_the_launch_are_refused(memory: Store, tmp_path: Path) -> None:
    launched(memory, tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n' * 400)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "rows.jsonl").write_text('{"text": "a"}\n' * 400)
    for name, message in (
        ("rows.jsonl", r"rows\.jsonl is a local file"),
        ("./folder", r"\./folder is a relative path"),
    ):
        for parameters in (
            {"data.train.0.path": {"values": [name]}},
            {"data": {"values": [{"train": [{"path": name}]}]}},
            {"data.train.0.path": {"values": ["builtin:python-docstrings", name], "probabilities": [0.5, 0.5]}},
        ):
            with pytest.raises(UserError, match=message):
                change_sweep(memory, "sweep", write_file(tmp_path, parameters=parameters), cwd=tmp_path)
    assert change_sweep(
        memory,
        "sweep",
        write_file(tmp_path, parameters={"data.train.0.path": {"values": [str(tmp_path / "folder")]}}),
        cwd=tmp_path,
    ).lines


def test_a_file_over_another_recipe_is_refused_and_says_what_differs(memory: Store, tmp_path: Path) -> None:
    launched(memory, tmp_path)
    recipe = (Path(__file__).parents[3] / "jobs" / "quickstart.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(recipe.replace("max_length: ", "max_length: 1"))
    with pytest.raises(UserError, match=r"its recipe is not that of sweep: training\.max_length is 1"):
        change_sweep(memory, "sweep", write_file(tmp_path, program="./mine.yaml"), cwd=tmp_path)
    (tmp_path / "mine.yaml").write_text(f"# another comment\n{recipe}")  # says the same
    parameters = {"lora_r": {"values": [16]}}
    file = write_file(tmp_path, program="./mine.yaml", parameters=parameters)
    assert change_sweep(memory, "sweep", file, cwd=tmp_path).lines


def test_other_rungs_are_not_taken_and_that_is_said(memory: Store, tmp_path: Path) -> None:
    launched(memory, tmp_path)
    runner = {**SWEEP["runner"], "rungs": [20, 60], "max_cost": 5}
    changed = change_sweep(memory, "sweep", write_file(tmp_path, runner=runner, run_cap=12), cwd=tmp_path)
    assert any(note.startswith("rungs stay as they were") for note in changed.notes)
    assert any(note.startswith("the budget stays as it was") for note in changed.notes)


def test_a_sweep_that_halves_needs_a_number_of_trials_for_its_new_method(memory: Store, tmp_path: Path) -> None:
    grid = {"learning_rate": {"values": [1e-3, 2e-3, 3e-3]}}
    launched(memory, tmp_path, run_cap=None, method="grid", parameters=grid)
    runner = {**SWEEP["runner"], "max_cost": 5}
    file = write_file(tmp_path, run_cap=None, runner=runner)
    with pytest.raises(UserError, match="halves a number of trials that is known"):
        change_sweep(memory, "sweep", file, cwd=tmp_path)


def test_that_nothing_more_will_be_drawn_is_said(memory: Store, tmp_path: Path) -> None:
    launched(memory, tmp_path)
    for number in range(3):
        tell(memory, *trained(number, {"learning_rate": 1e-3, "lora_r": 4}, value=1.0, settings={}))
    file = write_file(tmp_path, run_cap=2)
    assert any(
        note.startswith("no other trial will be drawn")
        for note in change_sweep(memory, "sweep", file, cwd=tmp_path).notes
    )
    file = write_file(tmp_path, run_cap=20)
    assert not any("will be drawn" in note for note in change_sweep(memory, "sweep", file, cwd=tmp_path).notes)


def test_a_sweep_that_has_ended_needs_resume(memory: Store, tmp_path: Path) -> None:
    launched(memory, tmp_path)
    settings = {"training.learning_rate": 1e-3, "adapter.r": 4}
    tell(memory, {"event": "joined", "worker": "w"})
    tell(memory, *trained(0, {"learning_rate": 1e-3, "lora_r": 4}, value=1.0, settings=settings))
    file = write_file(tmp_path, run_cap=20)
    assert not change_sweep(memory, "sweep", file, cwd=tmp_path).needs_resume
    tell(memory, {"event": "ended", "state": "succeeded", "reason": "all trials are done"})
    assert change_sweep(memory, "sweep", write_file(tmp_path, run_cap=21), cwd=tmp_path).needs_resume
