"""Metrics: their names in a run's records, and those that no trial will have."""

from typing import Any

import pytest

from support.sweeping.files import SweepFiles


@pytest.mark.parametrize(
    ("written", "recorded"),
    [
        ("eval/loss", "eval_loss"),
        ("eval_loss", "eval_loss"),
        ("train/loss", "loss"),
        ("loss", "loss"),
        ("eval/mean_token_accuracy", "eval_mean_token_accuracy"),
        ("train/entropy", "entropy"),
    ],
)
def test_wandbs_names_are_the_names_in_the_records(files: SweepFiles, written: str, recorded: str) -> None:
    assert files.load(metric={"name": written, "goal": "minimize"}).metric.name == recorded


def test_spaces_around_a_name_are_left_out_and_said(files: SweepFiles) -> None:
    sweep = files.load(metric={"name": " eval/loss ", "goal": "minimize"})
    assert sweep.metric.name == "eval_loss"
    assert any("spaces around `eval/loss`" in note for note in sweep.notes)


def test_the_metric_of_a_file_without_one_is_chosen_and_said(files: SweepFiles) -> None:
    sweep = files.load(metric=None)
    assert (sweep.metric.name, sweep.metric.goal) == ("eval_loss", "minimize")
    assert any("trials are compared by eval_loss" in note for note in sweep.notes)
    files.recipe(data={"eval": None}, training={"eval_strategy": "no", "eval_steps": None})
    (files.folder / "small.yaml").write_text(
        (files.folder / "small.yaml").read_text().replace("  eval: null\n", "").replace("  eval_steps: null\n", "")
    )
    assert files.load(metric=None).metric.name == "loss"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("val_loss", "did you mean `eval_loss`?"),
        ("accuracy", "there will be eval_loss"),
        ("eval/reward", "there will be eval_loss"),
        ("exact_match", "exact_match: {}}` in the recipe"),
        ("eval/exact_match", "exact_match: {}}` in the recipe"),
    ],
)
def test_a_metric_that_no_trial_will_have_is_refused_with_those_there_will_be(
    files: SweepFiles, name: str, said: str
) -> None:
    message = files.refusal(metric={"name": name, "goal": "minimize"})
    assert message.startswith("sweep.yaml:4: metric.name: no trial will have")
    assert said in message


def test_an_evaluations_metric_needs_evaluation_data(files: SweepFiles) -> None:
    recipe = (files.folder / "small.yaml").read_text()
    (files.folder / "small.yaml").write_text(
        "".join(line for line in recipe.splitlines(keepends=True) if "eval" not in line and "from_train" not in line)
    )
    message = files.refusal()
    assert "the recipe has no evaluation data" in message
    assert "eval: {from_train: 0.1}" in message


EXACT: dict[str, Any] = {"before_and_after": True, "exact_match": {}}


def test_exact_match_is_compared_at_the_end_only(files: SweepFiles) -> None:
    files.recipe(evaluate=EXACT)
    metric = {"name": "eval/exact_match", "goal": "maximize"}
    assert files.load(metric=metric).metric.name == "exact_match"
    assert "measured after training only" in files.refusal(metric=metric, runner={"rungs": [20]})


def test_a_metric_of_which_more_is_better_is_not_minimized_silently(files: SweepFiles) -> None:
    notes = files.load(metric={"name": "eval/mean_token_accuracy"}).notes
    assert any("write `goal: maximize`" in note for note in notes)
    assert not files.load(metric={"name": "eval/mean_token_accuracy", "goal": "maximize"}).notes
