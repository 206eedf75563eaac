"""Every method but supervised fine-tuning, which has a file of its own: a run that is killed ends as if it had not."""

import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from runner.recipe.recipe import Recipe
from runner.runs.checkpoints.lineage import checkpoints
from runner.storage.open import open_store
from support.families import write_model
from support.forked import Attempts, Moment
from support.method_recipes import METHODS, cpt, dpo, grpo, untied_model
from support.references import References
from support.runs import NEVER_EVALUATED, assert_same, assert_survives, outcome, recipe, submit
from support.thorough import cases

MOMENTS = [
    Moment("THE:TRAINER.training_step", 9, after=True),
    Moment("THE:TRAINER.training_step", 22),
    Moment("torch.optim:AdamW.step", 8),
    Moment("runner.storage.local:LocalStore.upload", 9),
    Moment("THE:TRAINER.prediction_step", 6, after=True),
    Moment("runner.train.stages.artifacts:save_model", after=True),
]
QUICK = {
    "cpt": "torch.optim:AdamW.step",
    "dpo": "THE:TRAINER.prediction_step",
    "dpo-lora": "torch.optim:AdamW.step",
    "grpo": "torch.optim:AdamW.step",
    "grpo-lora": "THE:TRAINER.prediction_step",
}
"""Where `make test` kills each method."""


@pytest.mark.parametrize(
    ("kind", "moment"), cases(product(METHODS, MOMENTS), quick=lambda kind, moment: moment.target == QUICK[kind])
)
def test_killed_at_this_moment_it_ends_the_same(
    kind: str, moment: Moment, references: References, forked: Attempts, data: Path
) -> None:
    make, step = METHODS[kind]
    moment = replace(moment, target=moment.target.replace("THE:TRAINER", step.removesuffix(".training_step")))
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}".lower()
    submit(store, run_id, make(data))
    assert forked.run(run_id, moment) == 75, forked.log(run_id)
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), references(make(data)).outcome)


@pytest.mark.parametrize("kind", cases(METHODS, quick=lambda kind: kind == "grpo"))
def test_told_to_stop_in_a_step_it_checkpoints_there_and_ends_the_same(
    kind: str, references: References, forked: Attempts, data: Path
) -> None:
    make, step = METHODS[kind]
    store = open_store(forked.store_url)
    run_id = f"{kind}-told"
    submit(store, run_id, make(data))
    assert forked.run(run_id, Moment(step, 9, signal=signal.SIGTERM)) == 75, forked.log(run_id)
    assert checkpoints(store, run_id)[0].step == 5, "SIGTERM saves at the boundary of the very step"
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), references(make(data)).outcome)


CASES = {
    "precomputed": lambda data, folder: with_training(dpo(data, adapter=False), precompute_ref_log_probs=True),
    "tokens": lambda data, folder: replace(
        cpt(data),
        model={"model_name_or_path": untied_model(folder)},
        adapter={"r": 4, "target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [1, 40]}},
    ),
}


def with_training(what: Recipe, **training: Any) -> Recipe:
    return replace(what, training={**what.training, **training})


@pytest.mark.parametrize("case", cases(CASES, quick=lambda case: case == "tokens"))
def test_with_these_settings_a_killed_run_ends_the_same(
    case: str, forked: Attempts, data: Path, tmp_path: Path
) -> None:
    """References that are computed once, and a few rows of the embeddings that are trained beside an adapter."""
    assert_survives(forked, case, CASES[case](data, tmp_path), Moment("torch.optim:AdamW.step", 8, saves=1))


def test_what_dpo_is_about_is_measured(references: References, data: Path) -> None:
    """Rewards as TRL logs them, at each step and in each evaluation; a perplexity would mean nothing."""
    ended = references(dpo(data, adapter=True)).outcome
    assert ended["before"]["eval_rewards/margins"] == 0, "the model is its own reference at first"
    assert ended["after"]["eval_rewards/margins"] > 0
    assert ended["after"]["eval_loss"] < ended["before"]["eval_loss"]
    assert "perplexity" not in ended["after"]
    for record in ended["metrics"]:
        prefix = "eval_" if record["kind"] == "eval" else ""
        assert f"{prefix}rewards/margins" in record
        assert f"{prefix}rewards/accuracies" in record


def biased_qlora(data: Path, folder: Path) -> Recipe:
    """Qwen2's layers have biases."""
    model = write_model("qwen2.5-coder-1.5b", folder, small=True)
    what = recipe(data, adapter=True)
    return replace(what, model={"model_name_or_path": str(model), "load_in_4bit": True})


@pytest.mark.parametrize(
    "make",
    [biased_qlora, lambda data, _: grpo(data, adapter=True, steps_per_generation=6, beta=0.1)],
    ids=["biased-qlora", "grpo"],
)
def test_a_run_that_is_evaluated_learns_what_one_that_is_not_learns(
    make: Callable[[Path, Path], Recipe], forked: Attempts, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Before and during its training, and with prompts to complete."""
    what = make(data, tmp_path)
    settings = {**what.training, **NEVER_EVALUATED}
    never = {key: value for key, value in settings.items() if value is not None}
    often = {**never, "eval_strategy": "steps", "eval_steps": 4}
    store, name = open_store(forked.store_url), request.node.callspec.id
    ended = {}
    for kind, training in (("never", never), ("often", often)):
        evaluate = replace(what.evaluate, before_and_after=kind == "often")
        submit(store, f"{name}-{kind}", replace(what, training=training, evaluate=evaluate))
        assert forked.run(f"{name}-{kind}") == 0, forked.log(f"{name}-{kind}")
        ended[kind] = outcome(store, f"{name}-{kind}")
    assert {record["kind"] for record in ended["never"]["metrics"]} == {"train"}
    trained = [record for record in ended["often"]["metrics"] if record["kind"] == "train"]
    assert len(ended["often"]["metrics"]) > len(trained), "it was evaluated"
    assert_same({"metrics": trained}, {"metrics": ended["never"]["metrics"]})
    assert ended["often"]["weights"] == ended["never"]["weights"]
