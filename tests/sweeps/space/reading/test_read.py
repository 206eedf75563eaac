"""A sweep's file: W&B's keys and ours, and what is said of mistakes, with their lines."""

from typing import Any

import pytest

from support.sweeping.files import SweepFiles


def test_a_whole_file_is_understood(files: SweepFiles) -> None:
    sweep = files.load("""\
program: small.yaml
name: my sweep
description: words
method: bayes
run_cap: 12
metric: {name: eval/loss, goal: minimize, target: 0.5, impute: best}
early_terminate: {type: hyperband, min_iter: 1, eta: 2, strict: false}
entity: me
project: mine
command: ["${env}", python, "${program}", "${args}"]
controller: {type: cloud}
kind: sweep
apiVersion: "1"
parameters:
  learning_rate: {min: 1e-5, max: 1e-3, distribution: log_uniform_values}
runner:
  parallel: 4
  gpu: H100
  infra: [aws, gcp/us-central1]
  use_spot: true
  max_hourly_cost: 2.5
  trials_per_gpu: 2
  max_cost: 100
  max_hours: 8
  eta: 4
  scheduler: asha
  schedule: rung
  seed: 0
  retries: 0
  set: {training.seed: 7}
""")
    file = sweep.file
    assert (file.name, file.description, file.recipe, file.method) == ("my sweep", "words", "small.yaml", "bayes")
    assert (file.metric.name, file.metric.target, file.run_cap) == ("eval_loss", 0.5, 12)  # type: ignore[union-attr]
    assert file.early_terminate is not None
    assert (file.early_terminate.min_iter, file.early_terminate.strict, file.eta) == (1, False, 4)
    runner = file.runner
    assert (runner.parallel, runner.gpu, runner.infra) == (4, ("H100",), ("aws", "gcp/us-central1"))
    assert (runner.use_spot, runner.max_hourly_cost, runner.trials_per_gpu) == (True, 2.5, 2)
    assert (runner.max_cost, runner.max_hours, runner.scheduler, runner.schedule) == (100, 8, "asha", "rung")
    assert (runner.seed, runner.retries) == (0, 0)
    assert sweep.recipe.settings["training.seed"].value == 7
    assert sweep.document["run_cap"] == 12
    [unused] = [note for note in sweep.notes if "`command`" in note]
    assert all(f"`{key}`" in unused for key in ("entity", "project", "controller"))
    assert "impute" in "".join(sweep.notes)


def test_the_name_of_the_file_is_the_sweeps_if_it_has_none(files: SweepFiles) -> None:
    assert files.load().file.name == "sweep"


def test_numbers_that_pyyaml_takes_for_text_are_numbers(files: SweepFiles) -> None:
    sweep = files.load("""\
program: small.yaml
method: random
parameters: {learning_rate: {min: 1e-5, max: 1e-3}}
""")
    assert sweep.space.values_at({"learning_rate": 0.0}) == {"learning_rate": 1e-5}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"program": None}, ["`program` is missing"]),
        ({"program": "train.py"}, ["sweep.yaml:1: program", "is a script"]),
        ({"program": "smal.yaml"}, ["sweep.yaml:1: program", "there is no such file: smal.yaml"]),
        ({"program": "quickstrat"}, ["did you mean `quickstart`?"]),
        ({"program": "small.yaml", "recipe": "other.yaml"}, ["recipe: `other.yaml` here, and `small.yaml`"]),
        ({"program": 3}, ["program: text expected, not 3"]),
        ({"method": None}, ["`method` is missing"]),
        ({"method": "baysian"}, ["sweep.yaml:2: method", "did you mean `bayes`?"]),
        ({"method": "custom"}, ["`custom` is not supported"]),
        ({"scheduler": {"engine": "optuna"}}, ["schedulers of W&B are not supported"]),
        ({"metrics": [{"name": "a"}, {"name": "b"}]}, ["several metrics are not supported"]),
        ({"metric": None, "method": "bayes"}, ["`metric` is missing, and `method: bayes` cannot do without"]),
        ({"metric": None, "early_terminate": {"type": "hyperband", "min_iter": 1}}, ["and `early_terminate` cannot"]),
        ({"metric": "eval/loss"}, ["write `metric: {name: eval/loss}`"]),
        ({"metric": {"goal": "minimize"}}, ["metric: `name` is missing"]),
        ({"metric": {"name": " "}}, ["metric.name: it is empty"]),
        ({"metric": {"name": "eval/loss", "goal": "minimum"}}, ["did you mean `minimize`?"]),
        ({"metric": {"name": "eval/loss", "mode": "min"}}, ["metric.mode", "write `goal`"]),
        ({"metric": {"name": "eval/loss", "target": "low"}}, ["metric.target: a number expected"]),
        ({"run_cap": 0}, ["run_cap: a whole number of at least 1 expected, not 0"]),
        ({"run_cap": "5"}, ["write 5, without quotes"]),
        ({"run_cap": True}, ["run_cap: a whole number of at least 1 expected"]),
        ({"parameters": None}, ["`parameters` is missing"]),
        ({"parameters": {}}, ["there is no parameter"]),
        ({"parameter": {}}, ["parameter: a sweep's file has no such key", "did you mean `parameters`?"]),
        ({"parallel": 3}, ["write it under `runner:`"]),
        ({"early_terminate": {"type": "hyperbnd", "min_iter": 1}}, ["did you mean `hyperband`?"]),
        ({"early_terminate": {"min_iter": 1}}, ["`type` is missing"]),
        ({"early_terminate": {"type": "hyperband"}}, ["neither `min_iter`, nor `max_iter` with `s`"]),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, ["`max_iter` alone says no iteration"]),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, ["at least 1 expected, not 0"]),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, ["a number above 1 expected"]),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9, "s": 1.5}}, ["s: a whole number"]),
        ({"early_terminate": {"type": "hyperband", "max_iter": 2, "s": 1}}, ["is below the first iteration"]),
        ({"runner": 3}, ["runner: a mapping expected"]),
        ({"runner": {"gpus": 1}}, ["runner.gpus", "write `gpu`"]),
        ({"runner": {"paralel": 1}}, ["did you mean `parallel`?"]),
        ({"runner": {"parallel": 0}}, ["at least 1 expected, not 0"]),
        ({"runner": {"rungs": [30, 20]}}, ["do not ascend", "write [20, 30]"]),
        ({"runner": {"rungs": []}}, ["a list of steps"]),
        ({"runner": {"rungs": [1.5]}}, ["a list of steps"]),
        ({"runner": {"max_cost": 0}}, ["a number above 0 expected"]),
        ({"runner": {"scheduler": "sha"}}, ["one of successive_halving"]),
        ({"runner": {"use_spot": "yes"}}, ["true or false expected"]),
        ({"runner": {"trials_per_gpu": 2, "gpus_per_trial": 2}}, ["share a GPU or have several"]),
        ({"runner": {"set": {"learning_rat": 1}}}, ["did you mean `training.learning_rate`?"]),
        ({"runner": {"set": {"training.max_steps": "x"}}}, ["a whole number expected"]),
        ({"runner": {"set": {"learning_rate": 1}}}, ["`training.learning_rate` is set by `runner: set` as well"]),
        ({"kind": "Sweep"}, ["`Sweep` is not `sweep`"]),
        ({"controller": "local"}, ["controller:"]),
        ({"description": "hf_" + "a" * 34}, ["must not contain a secret"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_mistake_is_said_with_what_to_write(files: SweepFiles, keys: dict[str, Any], said: list[str]) -> None:
    message = files.refusal(**keys)
    assert all(part in message for part in said), message
    assert "\n  " in message


def test_all_mistakes_are_listed_with_their_lines(files: SweepFiles) -> None:
    message = files.refusal("""\
program: small.yaml
method: randm
run_cap: 0
metric: {name: eval/loss, gaol: minimize}
parameters:
  learnin_rate: {min: 1e-5, max: 1e-3}
  lora_r: {values: []}
  weight_decay: {min: 2, max: 1}
runner:
  spot: true
  set: {max_step: 3}
""")
    assert message.startswith("sweep.yaml: 8 mistakes")
    for line in (2, 3, 4, 6, 7, 8, 10, 11):
        assert f"sweep.yaml:{line}: " in message, (line, message)


def test_of_many_mistakes_twenty_are_shown(files: SweepFiles) -> None:
    message = files.refusal(parameters={f"unknown_{number}": {"value": 1} for number in range(30)})
    assert "and 11 more mistakes" in message
    assert message.count("no setting of the recipe") == 19


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_says_what_a_sweep_needs(files: SweepFiles, text: str) -> None:
    assert "write at least program (the recipe), method and parameters" in files.refusal(text)


def test_a_key_that_stands_twice_is_refused(files: SweepFiles) -> None:
    assert "sweep.yaml:3:1: `method` appears here and in line 2" in files.refusal(
        "program: small.yaml\nmethod: grid\nmethod: random\n"
    )


def test_a_recipe_is_understood_under_either_key_and_by_name(files: SweepFiles) -> None:
    assert files.load(program=None, recipe="small.yaml").recipe.recipe.name == "small"
    assert files.load(program="quickstart").recipe.recipe.name == "quickstart"
    assert files.load(program="quickstart.yaml").recipe.recipe.name == "quickstart"
    beside_a_script = files.load(program="train.py", recipe="small.yaml")
    assert beside_a_script.recipe.recipe.name == "small"
    assert any("`program: train.py` is not used" in note for note in beside_a_script.notes)


def test_a_recipe_is_looked_for_beside_the_sweep_first(files: SweepFiles, tmp_path: Any) -> None:
    from runner.sweeps.space.load import load_sweep

    (tmp_path / "below").mkdir()
    recipe = (tmp_path / "small.yaml").read_text()
    (tmp_path / "below/small.yaml").write_text(recipe.replace("name: small", "name: low"))
    files.load()
    (tmp_path / "sweep.yaml").rename(tmp_path / "below/sweep.yaml")
    assert load_sweep("below/sweep.yaml", cwd=tmp_path).recipe.recipe.name == "low"


def test_the_working_directorys_sweeps_are_found_by_name_before_the_shipped_ones(
    files: SweepFiles, tmp_path: Any
) -> None:
    from runner.recipe.loading.finder import available_recipes
    from runner.sweeps.space.load import load_sweep

    files.load()
    (tmp_path / "jobs/sweeps").mkdir(parents=True)
    (tmp_path / "sweep.yaml").rename(tmp_path / "jobs/sweeps/quickstart-bayes.yaml")
    assert load_sweep("quickstart-bayes", cwd=tmp_path).recipe.recipe.name == "small"
    assert load_sweep("quickstart-halving", cwd=tmp_path).recipe.recipe.name == "quickstart"
    assert "quickstart-bayes" not in available_recipes(tmp_path)


def test_a_misspelled_sweep_is_suggested(tmp_path: Any) -> None:
    from runner.errors import UserError
    from runner.sweeps.space.load import load_sweep

    with pytest.raises(UserError, match="there is no such sweep") as refused:
        load_sweep("quickstart-bays", cwd=tmp_path)
    assert "did you mean `quickstart-bayes`?" in str(refused.value)
