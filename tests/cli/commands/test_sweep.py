"""What `runner sweep status`, `best`, `results`, `retry` and `ls` print of sweeps in a store."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import runner.reports.tables
from runner.cli.main import cli
from runner.recipe.loading.load import load_recipe
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.sweeps.definition import read_definition
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from runner.sweeps.layout import SWEEP, sweep_key
from support.sweeping.simulated import simulate


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def sweep(store: Store, *arguments: str) -> Result:
    """A command of `runner sweep`."""
    return CliRunner().invoke(cli, ["sweep", *arguments, "--store", store.url])


def loaded(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def tell(store: Store, *events: Event, sweep_id: str = "sweep") -> None:
    """Write events into a sweep's journal."""
    Journal(store, read_definition(store, sweep_id), by="test").append(lambda state: list(events))


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_shows_rungs_trials_and_why(store: Store) -> None:
    simulation = simulate(store)
    result = sweep(store, "status", "last")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("sweep (eval_loss, less is better): succeeded: all trials are done: trial ")
    best = simulation.journal.state.best()[0]
    assert f"best so far: trial {best.number}, eval_loss {best.value:.6f} at step 90: " in result.stdout
    assert "trials: 9 of 9 (8 stopped, 1 finished)" in lines
    rungs = [line.split() for line in lines if line.split()[:1] in (["10"], ["30"], ["90"])]
    assert [row[:5] for row in rungs] == [
        ["10", "9", "3", "0", "6"],
        ["30", "3", "1", "0", "2"],
        ["90", "1", "-", "-", "-"],
    ]
    assert sum("the best 3 went on" in line for line in lines) == 6
    assert sum("the best went on" in line for line in lines) == 2
    assert sum(line.endswith("finished: best of 1") for line in lines) == 1


@pytest.mark.parametrize("options", [[], ["--drain"]])
def test_stop_says_of_an_ended_sweep_that_it_has_ended(store: Store, options: list[str]) -> None:
    simulate(store)
    result = sweep(store, "stop", "last", *options)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "sweep has ended (succeeded), and none of its machines is left\n"


def test_status_as_json_has_everything(store: Store) -> None:
    simulate(store)
    status = loaded(sweep(store, "status", "sweep", "--json"))
    assert (status["state"], status["metric"], status["goal"], status["best"]) == (
        "succeeded",
        "eval_loss",
        "minimize",
        status["trials"][status["best"]]["trial"],
    )
    assert [(rung["step"], rung["reached"], rung["promoted"]) for rung in status["rungs"]] == [
        (10, 9, 3),
        (30, 3, 1),
        (90, 1, 0),
    ]
    trial = status["trials"][status["best"]]
    assert [result["step"] for result in trial["results"]] == [10, 30, 90]
    assert trial["run_id"] == f"sweep-{trial['trial']:04d}"
    assert sorted(trial["parameters"]) == ["adapter.r", "training.learning_rate"]
    assert status["spent"]["dollars"] == pytest.approx(status["spent"]["machine_hours"], abs=1e-3)  # a dollar an hour


def test_status_leaves_trials_out_of_a_terminal_only(store: Store) -> None:
    simulate(store, run_cap=60)
    short = sweep(store, "status", "last")
    assert short.stderr == "40 more trials; `--all` shows them\n"
    whole = sweep(store, "status", "last", "--all")
    assert whole.stderr == ""
    assert len(whole.stdout.splitlines()) == len(short.stdout.splitlines()) + 40
    assert len(loaded(sweep(store, "status", "last", "--json"))["trials"]) == 60


@pytest.mark.parametrize("width", [60, 80, 120])
def test_status_fits_the_terminal(store: Store, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    simulate(store)
    monkeypatch.setattr(runner.reports.tables, "output_width", lambda: width)
    lines = sweep(store, "status", "last").stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.strip().startswith("TRIAL"))
    assert max(map(len, lines[start:])) <= width


def test_status_of_a_sweep_that_nobody_works_on(store: Store) -> None:
    simulate(store, run_cap=0)
    tell(store, {"event": "resumed", "run_cap": 9})
    result = sweep(store, "status", "last")
    assert result.stdout.startswith("sweep (eval_loss, less is better): waiting for workers\n")


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([{"event": "joined", "worker": "late", "accelerator": "L4", "dollars_per_hour": 0.7}], "running"),
        ([{"event": "stop_requested", "reason": "enough"}], "stopped"),
        (
            [{"event": "joined", "worker": "late"}, {"event": "stop_requested", "reason": "enough"}],
            "stopping",
        ),
    ],
)
def test_the_state_of_a_sweep(store: Store, events: list[Event], state: str) -> None:
    simulate(store)
    tell(store, {"event": "resumed"}, *events)
    status = loaded(sweep(store, "status", "last", "--json"))
    assert status["state"] == state
    if state == "running":
        assert "workers: 1 (1 on L4 at $0.70/h)" in sweep(store, "status", "last").stdout


def test_nothing_in_a_sweep_moves_the_cursor(store: Store) -> None:
    simulate(store, metric="loss\x1b[2J", run_cap=1)
    values = {"a\x1b[1A": "b\rc", "nested": {"x": "\x1b[2J"}}
    tell(
        store,
        {"event": "resumed"},
        {"event": "drawn", "trial": 1, "values": values},
        {"event": "taken", "trial": 1, "worker": "w", "until": 10},
        {"event": "failed", "trial": 1, "worker": "w", "kind": "error", "reason": "\x1b[31mred\x1b[2K", "seconds": 1.0},
        {"event": "joined", "worker": "x\x1b[2J", "accelerator": "L4\x1b[2J"},
        {"event": "stop_requested", "reason": "\x9b2Jstopped"},
    )
    for command in ("status", "results", "ls", "best"):
        result = sweep(store, command, *([] if command == "ls" else ["last"]))
        assert result.exit_code == 0
        assert not set(result.stdout + result.stderr) & set("\x1b\x07\r\x9b")


def test_a_damaged_sweep_is_named_and_no_bug(store: Store) -> None:
    simulate(store)
    store.put(sweep_key("sweep", SWEEP), b'{"sweep_id": "sweep"}')
    result = sweep(store, "status", "sweep")
    assert (result.exit_code, result.stderr.splitlines()[0].partition(":")[0]) == (1, "Error")
    assert "sweeps/sweep/sweep.json" in result.stderr
    listed = sweep(store, "ls")
    assert listed.exit_code == 0
    assert "sweep is damaged in the store" in listed.stderr
    assert loaded(sweep(store, "ls", "--json"))[0]["state"] == "damaged"


def test_a_sweep_that_is_not_there_is_a_mistake(store: Store) -> None:
    assert sweep(store, "status", "last").exit_code == 2
    simulate(store)
    result = sweep(store, "status", "sweap")
    assert (result.exit_code, "did you mean sweep?" in result.stderr) == (2, True)


def test_an_unknown_command_of_the_group_is_a_mistake_with_a_hint() -> None:
    result = CliRunner().invoke(cli, ["sweep", "stats"])
    assert result.exit_code == 2
    assert "did you mean `runner sweep status`?" in result.stderr


# -- best ------------------------------------------------------------------------------------------------------------


RECIPE = {
    "name": "small",
    "method": "sft",
    "model": {"model_name_or_path": "builtin:tiny-llama"},
    "data": {"train": [{"path": "builtin:python-docstrings"}]},
    "training": {"max_steps": 90, "learning_rate": 1.0},
}


def test_best_prints_a_recipe_that_launches(store: Store, tmp_path: Path) -> None:
    simulation = simulate(store, recipe={"document": RECIPE})
    result = sweep(store, "best", "last")
    best = simulation.journal.state.best()[0]
    written = yaml.safe_load(result.stdout)
    assert written == {
        **RECIPE,
        "training": {"max_steps": 90, "learning_rate": best.values["training.learning_rate"]},
        "adapter": {"r": best.values["adapter.r"]},
    }
    assert f"trial {best.number}, run sweep-{best.number:04d}: eval_loss {best.value:.6g} at step 90" in result.stderr
    (tmp_path / "best.yaml").write_text(result.stdout)
    assert load_recipe("./best.yaml", cwd=tmp_path).recipe.training["learning_rate"] == pytest.approx(
        best.values["training.learning_rate"], rel=0
    )


def test_best_writes_the_best_trials_into_files_and_overwrites_none(store: Store, tmp_path: Path) -> None:
    simulate(store)
    out = tmp_path / "best.yaml"
    assert sweep(store, "best", "last", "--top", "3", "--out", str(out)).exit_code == 0
    names = ["best.yaml", "best-2.yaml", "best-3.yaml"]
    rates = [yaml.safe_load((tmp_path / name).read_text())["training"]["learning_rate"] for name in names]
    rows = loaded(sweep(store, "best", "last", "--top", "3", "--json"))
    assert rates == [row["parameters"]["training.learning_rate"] for row in rows]
    assert [row["finished"] for row in rows] == [True, False, False]
    again = sweep(store, "best", "last", "--out", str(tmp_path / "best-3.yaml"))
    assert (again.exit_code, "there is a file of that name" in again.stderr) == (2, True)
    assert sweep(store, "best", "last", "--out", str(tmp_path / "no" / "best.yaml")).exit_code == 2


def test_best_says_that_a_trial_was_not_trained_to_its_end(store: Store) -> None:
    simulate(store, run_cap=0)
    tell(
        store,
        {"event": "drawn", "trial": 0, "values": {"training.learning_rate": 1e-4, "adapter.r": 8}},
        {"event": "taken", "trial": 0, "worker": "w", "until": 10},
        {"event": "reached", "trial": 0, "worker": "w", "step": 10, "value": 1.5, "seconds": 1.0},
    )
    result = sweep(store, "best", "last")
    assert "eval_loss 1.5 at step 10, where it waits: it was not trained to its end" in result.stderr
    assert result.stdout.startswith("# Trial 0 of sweep sweep, eval_loss 1.5 at step 10, not trained to its end\n")


def test_best_of_nothing_is_a_mistake(store: Store) -> None:
    simulate(store, run_cap=0)
    result = sweep(store, "best", "last")
    assert (result.exit_code, "no trial has a result yet" in result.stderr) == (2, True)


def test_best_names_local_files_where_they_were_and_fetches_those_that_are_gone(store: Store, tmp_path: Path) -> None:
    from runner.storage.commit import digest

    kept, gone = tmp_path / "kept.jsonl", tmp_path / "gone.jsonl"
    kept.write_text('{"text": "kept"}\n')
    gone.write_text('{"text": "gone"}\n')
    keys = {path: f"inputs/{digest(path)}/{path.name}" for path in (kept, gone)}
    data = {"train": [{"path": keys[kept]}, {"path": keys[gone]}]}
    rewards = {"reward_funcs": [f"{keys[gone]}:reward"]}
    simulate(
        store,
        recipe={"document": {**RECIPE, "data": data, "training": rewards}},
        paths={key: str(path) for path, key in keys.items()},
    )
    for path, key in keys.items():
        store.upload(sweep_key("sweep", key), path)
    gone.write_text("something else\n")  # another file has its name now
    printed = sweep(store, "best", "last")
    paths = [entry["path"] for entry in yaml.safe_load(printed.stdout)["data"]["train"]]
    assert paths == [str(kept), str(gone)]
    assert f"{gone} is not on this machine as it was; `--out FILE` fetches it" in printed.stderr
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    assert sweep(store, "best", "last", "--out", str(folder / "best.yaml")).exit_code == 0
    written = yaml.safe_load((folder / "best.yaml").read_text())
    assert written["data"]["train"] == [{"path": str(kept)}, {"path": f"./{keys[gone]}"}]
    assert written["training"]["reward_funcs"] == [f"./{keys[gone]}:reward"]
    assert (folder / keys[gone]).read_text() == '{"text": "gone"}\n'


# -- results ---------------------------------------------------------------------------------------------------------


def test_results_as_csv_have_a_line_for_each_trial_and_a_column_for_each_parameter_and_rung(store: Store) -> None:
    simulation = simulate(store)
    rows = list(csv.DictReader(io.StringIO(sweep(store, "results", "last", "--csv").stdout)))
    assert len(rows) == 9
    best = simulation.journal.state.best()[0]
    assert int(rows[0]["trial"]) == best.number  # the best first
    assert float(rows[0]["training.learning_rate"]) == best.values["training.learning_rate"]
    assert float(rows[0]["eval_loss@90"]) == float(rows[0]["eval_loss"]) == best.value
    assert float(rows[0]["eval_loss@10"]) == best.scores[0]
    assert [row["eval_loss@90"] for row in rows[1:]] == [""] * 8


def test_results_are_sorted_by_any_column_with_empty_cells_last(store: Store) -> None:
    simulate(store)
    for column, order in (("eval_loss@30", 1), ("-eval_loss@30", -1)):
        rows = loaded(sweep(store, "results", "last", "--json", "--sort", column))
        values = [row["eval_loss@30"] for row in rows]
        assert values[:3] == sorted(values[:3])[::order]
        assert values[3:] == [None] * 6
    result = sweep(store, "results", "last", "--sort", "eval_los")
    assert (result.exit_code, "did you mean `eval_loss`?" in result.stderr) == (2, True)


def test_a_parameter_that_is_a_mapping_stays_one_cell(store: Store) -> None:
    simulate(store, run_cap=0)
    tell(store, {"event": "drawn", "trial": 0, "values": {"pair": {"r": 8, "alpha": [1, 2]}, "step": "a"}})
    row = next(csv.DictReader(io.StringIO(sweep(store, "results", "last", "--csv").stdout)))
    assert json.loads(row["pair"]) == {"r": 8, "alpha": [1, 2]}
    assert (row["parameters.step"], row["step"]) == ("a", "0")


def test_results_of_nothing(store: Store) -> None:
    simulate(store, run_cap=0)
    assert loaded(sweep(store, "results", "last", "--json")) == []
    assert sweep(store, "results", "last").stderr == "sweep has no trials yet\n"


# -- retry -----------------------------------------------------------------------------------------------------------


def failed_trial(store: Store) -> None:
    simulate(store, run_cap=0)
    tell(
        store,
        {"event": "drawn", "trial": 0, "values": {}},
        {"event": "drawn", "trial": 1, "values": {}},
        {"event": "taken", "trial": 0, "worker": "w", "until": 10},
        {"event": "failed", "trial": 0, "worker": "w", "kind": "out_of_memory", "reason": "CUDA", "seconds": 1.0},
    )


def test_retry_lets_a_failed_trial_be_taken_again(store: Store) -> None:
    failed_trial(store)
    result = sweep(store, "retry", "last")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "may be trained again: trial 0",
        "what failed because of its values fails again, unless something else has changed: 0",
        "no worker takes them now: `runner sweep resume sweep` starts some",
    ]
    assert loaded(sweep(store, "status", "last", "--json"))["trials"][0]["state"] == "ready"
    assert sweep(store, "retry", "last").stderr == "no trial of sweep has failed\n"


@pytest.mark.parametrize(
    ("trial", "message"), [("1", "trial 1 has not failed: it waits for a worker"), ("7", "there is no trial 7")]
)
def test_retry_of_what_has_not_failed_is_a_mistake_and_changes_nothing(store: Store, trial: str, message: str) -> None:
    failed_trial(store)
    result = sweep(store, "retry", "last", "0", trial)
    assert (result.exit_code, message in result.stderr) == (2, True)
    assert loaded(sweep(store, "status", "last", "--json"))["trials"][0]["state"] == "failed"


# -- ls --------------------------------------------------------------------------------------------------------------


def test_ls_lists_the_newest_first(store: Store) -> None:
    for day in (1, 3, 2):
        simulate(store, sweep_id=f"sweep-{day}", created_at=f"2026-01-0{day}T00:00:00+00:00")
    assert [row["sweep_id"] for row in loaded(sweep(store, "ls", "--json"))] == ["sweep-3", "sweep-2", "sweep-1"]
    assert sweep(store, "ls").stdout.splitlines()[1].split()[:3] == ["sweep-3", "succeeded", "9/9"]
    assert sweep(store, "status", "last").stdout.startswith("sweep-3 ")


def test_ls_of_an_empty_store(store: Store) -> None:
    result = sweep(store, "ls")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "runner sweep launch FILE" in result.stderr
