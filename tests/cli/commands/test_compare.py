"""What `runner compare` prints of runs and sweeps in a store."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import runner
import runner.reports.tables
from runner.cli.main import cli
from runner.recipe.loading.load import load_recipe
from runner.runs.submission.prepare import prepare
from runner.storage.open import open_store
from runner.storage.store import Store
from support.compared import trained
from support.servers.s3 import BUCKET, S3Server
from support.sweeping.simulated import Simulation, simulate


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def compare(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments, "--store", store.url])


def loaded(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def two(store: Store, tmp_path: Path) -> Store:
    """Two runs that differ in their learning rate."""
    trained(store, tmp_path, "fast", losses=[4.0, 2.0], evaluations={0: 4.0, 2: 1.5}, training={"learning_rate": 1e-3})
    trained(store, tmp_path, "slow", losses=[4.0, 3.0], evaluations={0: 4.0, 2: 2.5}, training={"learning_rate": 1e-4})
    return store


def test_it_says_which_is_best_and_why(two: Store) -> None:
    result = compare(two, "slow", "fast")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "best eval_loss: fast, 1.5000; next slow, 2.5000; it has training.learning_rate 0.001, not 0.0001"
    )
    rows = [line.split() for line in lines]
    assert ["RUN", "STATE", "STEP", "LOSS", "EVAL", "LOSS", "BEFORE", "TOOK", "ATTEMPTS"] in rows
    assert ["slow", "succeeded", "2/2", "3.0000", "2.5000", "4.0000", "2m", "5s", "1"] in rows
    assert ["SETTING", "slow", "fast"] in rows
    assert ["training.learning_rate", "0.0001", "0.001"] in rows


def test_curves_have_one_scale_and_end_with_their_values(two: Store) -> None:
    lines = compare(two, "slow", "fast").stdout.splitlines()
    at = lines.index("LOSS to step 2, from 2.0000 to 4.0000")
    name, curve, value = lines[at + 1].split()
    assert (name, value) == ("slow", "3.0000")
    assert curve == "█▅"
    assert lines[at + 2].split() == ["fast", "█▁", "2.0000"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_the_terminal(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    for number in range(6):
        rate = {"learning_rate": 1e-3 * (number + 1), "weight_decay": number / 10, "warmup_steps": number}
        trained(store, tmp_path, f"run-{number}", losses=[4.0, 3.0], evaluations={2: 2.0 + number}, training=rate)
    monkeypatch.setattr(runner.reports.tables, "output_width", lambda: columns)
    text = compare(store, "run-*").stdout
    assert max(map(len, text.splitlines())) <= columns
    for title in ("learning_rate", "weight_decay", "warmup_steps"):
        assert title in text, "no setting is left out"


def test_without_utf8_it_is_plain_ascii(two: Store) -> None:
    result = CliRunner(charset="ascii").invoke(cli, ["compare", "slow", "fast", "--store", two.url])
    assert result.exit_code == 0, result.stderr
    assert "#_  2.0000" in result.stdout
    assert result.stdout.isascii()


def test_equal_runs_are_said_to_be_the_same_training(store: Store, tmp_path: Path) -> None:
    for run_id in ("one", "two"):
        trained(store, tmp_path, run_id, losses=[2.0, 1.0])
    text = compare(store, "one", "two").stdout
    assert "one, two are the same training: one recipe with the same inputs" in text
    assert "SETTINGS: all are equal" in text
    assert loaded(compare(store, "one", "two", "--json"))["same_training"] == [["one", "two"]]


def test_data_code_libraries_and_hardware_are_named(store: Store, tmp_path: Path) -> None:
    files = {}
    for name in ("a", "b"):
        files[name] = tmp_path / name / "rows.jsonl"
        files[name].parent.mkdir()
        files[name].write_text(json.dumps({"prompt": name, "completion": "c"}) + "\n")
    data = {
        name: {"data": {"train": [{"path": str(file)}]}, "evaluate": {"before_and_after": False}}
        for name, file in files.items()
    }
    dropped = {"entry": "data.train.0", "reason": "without a prompt", "rows": 3, "of": 10, "first": 1}
    trained(store, tmp_path, "one", losses=[2.0, 1.0], recipe=data["a"])
    trained(
        store,
        tmp_path,
        "two",
        losses=[2.0, 1.5],
        recipe=data["b"],
        hardware={"device": "NVIDIA A100", "torch": "2.8.0"},
        result={"dropped_rows": [dropped]},
        git_revision="b" * 40,
        runner_version="0.0.9",
    )
    found = loaded(compare(store, "one", "two", "--json"))
    assert found["settings"] == {}
    assert set(found["data"]) == {"data.train.0.path", "dropped rows"}
    assert found["data"]["data.train.0.path"]["one"].startswith("inputs/")
    assert found["data"]["dropped rows"] == {"one": None, "two": "data.train.0: 3 of 10 without a prompt"}
    assert found["code"]["git revision"] == {"one": "a" * 40, "two": "b" * 40}
    assert found["code"]["runner"]["two"] == "0.0.9"
    assert found["libraries"] == {"torch": {"one": "2.9.0", "two": "2.8.0"}}
    assert found["hardware"] == {"device": {"one": "NVIDIA L4", "two": "NVIDIA A100"}}
    text = compare(store, "one", "two").stdout
    digest = found["data"]["data.train.0.path"]["one"].split("/")[1][:8]
    assert f"DATA: data.train.0.path: rows.jsonl ({digest}) (one); rows.jsonl (" in text
    assert "CODE: git revision: aaaaaaaaaaaa (one); bbbbbbbbbbbb (two)" in text
    assert "HARDWARE: device: NVIDIA L4 (one); NVIDIA A100 (two)" in text


def test_losses_of_other_evaluation_data_are_said_to_be_so(store: Store, tmp_path: Path) -> None:
    trained(store, tmp_path, "one", losses=[2.0], evaluations={1: 2.0})
    data = {"train": [{"path": "builtin:python-docstrings"}], "eval": {"from_train": 16}}
    trained(store, tmp_path, "two", losses=[2.0], evaluations={1: 3.0}, recipe={"data": data})
    assert "eval_loss is not measured on the same rows" in compare(store, "one", "two").stdout
    assert loaded(compare(store, "one", "two", "--json"))["same_evaluation_data"] is False


def test_rows_held_out_of_other_training_data_are_other_rows(store: Store, tmp_path: Path) -> None:
    trained(store, tmp_path, "one", losses=[2.0], evaluations={1: 2.0})
    data = {"train": [{"path": "builtin:python-docstrings", "sample": 100}], "eval": {"from_train": 8}}
    trained(store, tmp_path, "two", losses=[2.0], evaluations={1: 3.0}, recipe={"data": data})
    found = loaded(compare(store, "one", "two", "--json"))
    assert found["data"] == {"data.train.0.sample": {"one": None, "two": 100}}
    assert found["same_evaluation_data"] is False


def test_rows_held_out_with_another_seed_are_other_rows(store: Store, tmp_path: Path) -> None:
    for seed in (1, 2):
        trained(store, tmp_path, f"run-{seed}", losses=[2.0], evaluations={1: 2.0}, training={"seed": seed})
    assert loaded(compare(store, "run-1", "run-2", "--json"))["same_evaluation_data"] is False


@pytest.mark.parametrize(
    ("sort", "order"), [("eval_loss", ["fast", "slow"]), ("-eval_loss", ["slow", "fast"]), ("run_id", ["fast", "slow"])]
)
def test_runs_are_sorted_by_any_column(two: Store, sort: str, order: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(compare(two, "slow", "fast", "--csv", "--sort", sort).stdout)))
    assert [row["run_id"] for row in rows] == order


def test_a_column_that_is_not_there_is_a_mistake(two: Store) -> None:
    result = compare(two, "slow", "fast", "--sort", "eval_los")
    assert (result.exit_code, "did you mean `eval_loss`?" in result.stderr) == (2, True)


def test_csv_has_results_and_all_that_differs(two: Store) -> None:
    rows = list(csv.DictReader(io.StringIO(compare(two, "slow", "fast", "--csv").stdout)))
    assert [(row["run_id"], float(row["training.learning_rate"])) for row in rows] == [("slow", 1e-4), ("fast", 1e-3)]
    assert [float(row["eval_loss"]) for row in rows] == [2.5, 1.5]
    assert rows[0]["seconds"] == "125.0"


def test_json_has_the_whole_curves(two: Store) -> None:
    found = loaded(compare(two, "slow", "fast", "--json"))
    assert (found["best"], found["metric"], found["goal"]) == ("fast", "eval_loss", "minimize")
    assert found["runs"][0]["curves"] == {"loss": [[1, 4.0], [2, 3.0]], "eval_loss": [[0, 4.0], [2, 2.5]]}
    assert found["settings"] == {"training.learning_rate": {"slow": 1e-4, "fast": 1e-3}}


def test_a_loss_that_is_not_finite_is_shown_as_such(store: Store, tmp_path: Path) -> None:
    trained(store, tmp_path, "one", losses=[2.0, None])
    trained(store, tmp_path, "two", losses=[2.0, 1.0])
    lines = compare(store, "one", "two").stdout.splitlines()
    assert lines[0] == "best loss: two, 1.0000"
    assert next(line for line in lines[1:] if line.startswith("one")).split()[:4] == ["one", "succeeded", "2/2", "NaN"]
    curve = next(line for line in lines if line.startswith("one") and "x" in line)
    assert curve.split()[1].endswith("x")
    assert loaded(compare(store, "one", "two", "--json"))["runs"][0]["not_finite"] == {"loss": "NaN"}


# -- which runs ------------------------------------------------------------------------------------------------------


def test_patterns_last_and_parts_of_ids_stand_for_runs(two: Store, tmp_path: Path) -> None:
    trained(two, tmp_path, "newest", losses=[1.0], created_at="2026-02-01T00:00:00+00:00")
    for words, expected in (
        (["*s*"], ["newest", "slow", "fast"]),
        (["last", "sl"], ["newest", "slow"]),
        (["fast", "fast", "f*"], ["fast"]),
    ):
        assert [run["run_id"] for run in loaded(compare(two, *words, "--json"))["runs"]] == expected


def test_a_pattern_that_fits_nothing_is_a_mistake(two: Store) -> None:
    result = compare(two, "quick*")
    assert (result.exit_code, "no run fits 'quick*'" in result.stderr) == (2, True)
    assert compare(two, "quick").exit_code == 2
    assert compare(two).exit_code == 2
    assert compare(two, "fast", "--csv", "--json").exit_code == 2


def test_of_many_runs_twenty_are_shown_unless_all_are_asked_for(store: Store, tmp_path: Path) -> None:
    for number in range(22):
        trained(store, tmp_path, f"run-{number:02}", losses=[1.0])
    result = compare(store, "run-*", "--json")
    assert len(loaded(result)["runs"]) == 20
    assert result.stderr == "2 more of run-*; `runner compare run-* --all` shows them\n"
    assert len(loaded(compare(store, "run-*", "--json", "--all"))["runs"]) == 22


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_shown(two: Store, tmp_path: Path) -> None:
    two.put("runs/slow/run.json", b"{")
    trained(two, tmp_path, "third", losses=[3.0])
    result = compare(two, "slow", "fast", "third")
    assert result.exit_code == 0
    assert "slow is damaged in the store: runs/slow/run.json" in result.stderr
    assert "fast   succeeded" in result.stdout
    assert set(loaded(compare(two, "*s*", "--json"))["damaged"]) == {"slow"}
    assert compare(two, "slow").exit_code == 1


def test_a_run_whose_metrics_are_damaged_has_results_all_the_same(two: Store) -> None:
    (key,) = [info.key for info in two.objects("runs/slow/metrics/")]
    two.put(key, b"[]\n")
    result = compare(two, "slow", "fast", "--json")
    found = loaded(result)
    assert found["runs"][0]["eval_loss"] == 2.5
    assert found["runs"][0]["curves"] == {"loss": [], "eval_loss": []}
    assert set(found["damaged"]) == {"slow"}


def test_text_from_the_store_moves_no_cursor(store: Store, tmp_path: Path) -> None:
    trained(store, tmp_path, "one", losses=[2.0], git_revision="\x1b[2Jone", hardware={"device": "L4\x1b]0;x\x07"})
    trained(store, tmp_path, "two", losses=[2.0], name="bad\x1b[2J")
    text = compare(store, "one", "two").stdout
    assert "\x1b" not in text
    assert "\x07" not in text


# -- sweeps ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def swept(store: Store, tmp_path: Path) -> Simulation:
    """A sweep that has ended, and the runs of its trials but one."""
    simulation = simulate(store)
    for number, trial in simulation.journal.state.trials.items():
        if number == 8:
            continue
        training = {"learning_rate": trial.values["training.learning_rate"]}
        sweep = {"sweep_id": "sweep", "trial": number, "parameters": dict(trial.values)}
        trained(
            store,
            tmp_path,
            f"sweep-{number:04d}",
            losses=[3.0, 2.0],
            training=training,
            recipe={"adapter": {"r": trial.values["adapter.r"]}},
            sweep=sweep,
        )
    return simulation


def test_a_sweep_stands_for_its_trials_the_best_first_with_what_was_drawn_and_its_cost(
    store: Store, swept: Simulation
) -> None:
    found = loaded(compare(store, "sweep", "--json"))
    best = swept.journal.state.best()[0]
    assert len(found["runs"]) == 8
    assert found["best"] == found["runs"][0]["run_id"] == f"sweep-{best.number:04d}"
    assert (found["metric"], found["runs"][0]["eval_loss"]) == ("eval_loss", best.value)
    assert found["runs"][0]["dollars"] == pytest.approx(best.cost)
    assert set(list(found["settings"])[:2]) == {"training.learning_rate", "adapter.r"}
    assert found["settings"]["adapter.r"][found["best"]] == best.values["adapter.r"]


def test_a_trial_by_itself_has_its_cost_too(store: Store, swept: Simulation) -> None:
    trial = swept.journal.state.trials[0]
    (run,) = loaded(compare(store, "sweep-0000", "--json"))["runs"]
    assert (run["trial"], run["sweep_id"]) == (0, "sweep")
    assert run["dollars"] == pytest.approx(trial.cost)
    assert run["seconds"] == pytest.approx(trial.seconds)


def test_a_sweep_without_runs_is_a_mistake(store: Store) -> None:
    simulate(store)
    result = compare(store, "sweep")
    assert (result.exit_code, "no trial of the sweep sweep has begun" in result.stderr) == (2, True)


def test_what_the_recipes_call_best_ranks_runs_also_if_more_is_better(store: Store, tmp_path: Path) -> None:
    for name, rewards in (("poor", 0.2), ("rich", 0.7)):
        best = {"metric_for_best_model": "mean_token_accuracy", "greater_is_better": True, "eval_strategy": "steps"}
        after = {"after": {"eval_loss": rewards, "eval_mean_token_accuracy": rewards}}
        trained(store, tmp_path, name, losses=[1.0], evaluations={1: rewards}, training=best, result=after)
    found = loaded(compare(store, "poor", "rich", "--json"))
    assert (found["metric"], found["goal"], found["best"]) == ("eval_mean_token_accuracy", "maximize", "rich")
    shown = compare(store, "poor", "rich").stdout
    assert shown.startswith("best eval_mean_token_accuracy: rich, 0.7000; next poor, 0.2000")


def test_settings_of_stages_are_named_with_their_stage(store: Store, tmp_path: Path) -> None:
    for name, rate in (("one", 1e-3), ("two", 1e-4)):
        trained(store, tmp_path, name, losses=[1.0])
        key = f"runs/{name}-staged/run.json"
        path = tmp_path / f"{name}-staged.yaml"
        stages = f"stages: [{{method: sft, name: first}}, {{method: sft, training: {{learning_rate: {rate}}}}}]"
        data = "data: {train: [{path: builtin:python-docstrings}]}"
        path.write_text(f"model: {{model_name_or_path: builtin:tiny-llama}}\n{data}\n{stages}\n")
        prepared = prepare(load_recipe(str(path), cwd=tmp_path))
        document = json.loads(store.get(f"runs/{name}/run.json"))
        document |= {"run_id": f"{name}-staged", "recipe": prepared.recipe, "settings": prepared.settings}
        store.create(key, json.dumps(document).encode())
    found = loaded(compare(store, "one-staged", "two-staged", "--json"))
    assert found["settings"] == {"stages.sft.training.learning_rate": {"one-staged": 1e-3, "two-staged": 1e-4}}


def test_every_library_that_differs_is_named_the_important_ones_first(store: Store, tmp_path: Path) -> None:
    for name, versions in (
        ("old", {"aiohttp": "1", "transformers": "5.0", "torch": "2.9", "pip": "1"}),
        ("new", {"aiohttp": "2", "transformers": "5.1", "torch": "2.10", "pip": "1"}),
    ):
        trained(store, tmp_path, name, losses=[1.0])
        record = {"versions": versions, "python": "3.11.7", "driver": {"old": "550", "new": "560"}[name], "gpus": []}
        store.create(f"runs/{name}/attempts/0001.machine.json", json.dumps(record).encode())
    found = loaded(compare(store, "old", "new", "--json"))
    assert list(found["libraries"]) == ["torch", "transformers", "aiohttp"]
    assert found["libraries"]["torch"] == {"old": "2.9", "new": "2.10"}
    assert found["hardware"] == {"driver": {"old": "550", "new": "560"}}


def test_runs_in_a_bucket_are_compared_as_those_in_a_folder(
    two: Store, tmp_path: Path, use_server: Callable[[str], S3Server]
) -> None:
    use_server("moto")
    bucket = open_store(f"s3://{BUCKET}/compared")
    for info in two.objects(""):
        bucket.put(info.key, two.get(info.key))
    here, there = (loaded(compare(where, "slow", "fast", "--json")) for where in (two, bucket))
    assert here == there


def test_python_gets_what_json_prints(two: Store) -> None:
    found = runner.compare("slow", "fast", store=two.url, sort="eval_loss")
    assert found["best"] == "fast"
    assert [run["run_id"] for run in found["runs"]] == ["fast", "slow"]
    assert json.loads(json.dumps(found)) == loaded(compare(two, "slow", "fast", "--sort", "eval_loss", "--json"))
