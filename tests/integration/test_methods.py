"""Every method but supervised fine-tuning, which has a file of its own: a run that is killed ends as if it had not."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.lineage import checkpoints
from runner.storage.open import open_store
from runner.train.builtin.catalog import materialize
from support.forked import Attempts, Moment
from support.runs import assert_same, check_metrics, outcome, recipe, submit

TEXT = {"text": "{prompt}{completion}"}
PREFERENCE = {
    "prompt": [{"role": "system", "content": ""}, {"role": "user", "content": "{prompt}"}],
    "chosen": [{"role": "assistant", "content": "{completion}"}],
    "rejected": [{"role": "assistant", "content": "I do not know {prompt}"}],
}


def on(data: Path, template: dict[str, Any]) -> Data:
    """The data of the other tests, as a method needs them."""
    return Data(train=(DataSource(path=str(data), template=template),), eval_from_train=8)


def cpt(data: Path) -> Recipe:
    """Packed text, with the embeddings trained in full beside the adapter."""
    what = recipe(data, adapter=True, per_device_train_batch_size=1)
    assert what.adapter is not None
    adapter = {
        **what.adapter,
        "target_modules": ["q_proj", "v_proj"],
        "modules_to_save": ["embed_tokens"],
        "ensure_weight_tying": True,
    }
    return replace(what, method="cpt", adapter=adapter, data=on(data, TEXT))


def dpo(data: Path, *, adapter: bool) -> Recipe:
    """Preferences in messages."""
    what = recipe(data, adapter=adapter, max_length=96, learning_rate=1e-3)
    return replace(what, method="dpo", data=on(data, PREFERENCE))


REWARDS = '''
def vowels(completions, **kwargs):
    """Something that a model with random weights already does more or less of."""
    return [sum(text.count(letter) for letter in "aeiou") / 10 for text in completions]


def mentions(completions, answer, **kwargs):
    return [float(answer_[:2] in text) for text, answer_ in zip(completions, answer, strict=True)]
'''


def grpo(data: Path, *, adapter: bool, **training: Any) -> Recipe:
    """Prompts, with rewards from a file, and generations that last for several steps."""
    rewards = data.parent / "rewards.py"
    rewards.write_text(REWARDS)
    settings = {
        "reward_funcs": [f"{rewards}:vowels", f"{rewards}:mentions", "builtin:length"],
        "num_generations": 2,
        "max_completion_length": 8,
        "metric_for_best_model": "reward",
        **training,
    }
    what = recipe(data, adapter=adapter, **settings)
    kept = {key: value for key, value in what.training.items() if key != "max_length"}
    return replace(what, method="grpo", training=kept, data=on(data, {"prompt": "{prompt}", "answer": "{completion}"}))


# Four prompts are two generation batches, each for four micro-batches and, trained on twice, four updates: an epoch has
# eight, and the next draws another order.
TWICE = {"steps_per_generation": 4, "num_iterations": 2, "per_device_train_batch_size": 1}

RUNS = {
    "cpt": lambda data: cpt(data),
    "dpo": lambda data: dpo(data, adapter=False),
    "dpo-lora": lambda data: dpo(data, adapter=True),
    "grpo": lambda data: replace(
        grpo(data, adapter=False, **TWICE),
        data=Data(
            train=(DataSource(path=str(data), template={"prompt": "{prompt}", "answer": "{completion}"}, sample=12),),
            eval_from_train=8,
        ),
    ),
    "grpo-lora": lambda data: grpo(data, adapter=True, steps_per_generation=6, beta=0.1),
}
TRAINERS = {
    "cpt": "runner.train.methods.sft:ResumableSFTTrainer",
    "dpo": "runner.train.methods.dpo:ResumableDPOTrainer",
    "dpo-lora": "runner.train.methods.dpo:ResumableDPOTrainer",
    "grpo": "runner.train.methods.grpo:ResumableGRPOTrainer",
    "grpo-lora": "runner.train.methods.grpo:ResumableGRPOTrainer",
}


@pytest.fixture(scope="module", params=RUNS)
def undisturbed(request: pytest.FixtureRequest, forked: Attempts, data: Path) -> tuple[str, dict[str, Any]]:
    """How the run ends that nobody kills."""
    store = open_store(forked.store_url)
    kind: str = request.param
    submit(store, kind, RUNS[kind](data))
    assert forked.run(kind) == 0, forked.log(kind)
    ended = outcome(store, kind)
    check_metrics(ended["metrics"], steps=ended["step"])
    return kind, ended


@pytest.mark.parametrize(
    "moment",
    [
        Moment("THE:TRAINER.training_step", 9, after=True),
        Moment("THE:TRAINER.training_step", 22),
        Moment("torch.optim:AdamW.step", 8),
        Moment("runner.storage.local:LocalStore.upload", 9),
        Moment("THE:TRAINER.prediction_step", 6, after=True),
        Moment("runner.train.stages.artifacts:save_model", after=True),
    ],
    ids=str,
)
def test_killed_at_this_moment_it_ends_the_same(
    moment: Moment, undisturbed: tuple[str, dict[str, Any]], forked: Attempts, data: Path
) -> None:
    kind, expected = undisturbed
    moment = replace(moment, target=moment.target.replace("THE:TRAINER", TRAINERS[kind]))
    store = open_store(forked.store_url)
    run_id = f"{kind}-{moment}".lower()
    submit(store, run_id, RUNS[kind](data))
    assert forked.run(run_id, moment) == 75, forked.log(run_id)
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), expected)


def test_told_to_stop_in_a_step_it_checkpoints_there_and_ends_the_same(
    undisturbed: tuple[str, dict[str, Any]], forked: Attempts, data: Path
) -> None:
    kind, expected = undisturbed
    store = open_store(forked.store_url)
    run_id = f"{kind}-told"
    submit(store, run_id, RUNS[kind](data))
    moment = Moment(f"{TRAINERS[kind]}.training_step", 9, signal=signal.SIGTERM)
    assert forked.run(run_id, moment) == 75, forked.log(run_id)
    assert checkpoints(store, run_id)[0].step == 5, "SIGTERM saves at the boundary of the very step"
    forked.run_to_the_end(run_id)
    assert_same(outcome(store, run_id), expected)


CASES = {
    "precomputed": lambda data: with_training(dpo(data, adapter=False), precompute_ref_log_probs=True),
    "tokens": lambda data: replace(
        cpt(data),
        model={"model_name_or_path": untied(data.parent)},
        adapter={"r": 4, "target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [1, 40]}},
    ),
}


def untied(folder: Path) -> str:
    """The builtin model with a head of its own."""
    target = folder / "untied"
    if not target.is_dir():
        source = materialize("builtin:tiny-llama", folder)
        AutoModelForCausalLM.from_pretrained(source, tie_word_embeddings=False).save_pretrained(target)
        AutoTokenizer.from_pretrained(source).save_pretrained(target)
    return str(target)


def with_training(what: Recipe, **training: Any) -> Recipe:
    return replace(what, training={**what.training, **training})


@pytest.mark.parametrize("case", CASES)
def test_with_these_settings_a_killed_run_ends_the_same(case: str, forked: Attempts, data: Path) -> None:
    """References that are computed once, and a few rows of the embeddings that are trained beside an adapter."""
    store = open_store(forked.store_url)
    what = CASES[case](data)
    submit(store, f"{case}-calm", what)
    assert forked.run(f"{case}-calm") == 0, forked.log(f"{case}-calm")
    submit(store, f"{case}-killed", what)
    moment = Moment("torch.optim:AdamW.step", 8)
    assert forked.run(f"{case}-killed", moment) == 75, forked.log(f"{case}-killed")
    assert checkpoints(store, f"{case}-killed"), "it goes on from somewhere"
    forked.run_to_the_end(f"{case}-killed")
    assert_same(outcome(store, f"{case}-killed"), outcome(store, f"{case}-calm"))


def test_what_dpo_is_about_is_measured(forked: Attempts, data: Path) -> None:
    """Rewards as TRL logs them, at each step and in each evaluation; a perplexity would mean nothing."""
    store = open_store(forked.store_url)
    submit(store, "measured", dpo(data, adapter=True))
    assert forked.run("measured") == 0, forked.log("measured")
    ended = outcome(store, "measured")
    assert ended["before"]["eval_rewards/margins"] == 0, "the model is its own reference at first"
    assert ended["after"]["eval_rewards/margins"] > 0
    assert ended["after"]["eval_loss"] < ended["before"]["eval_loss"]
    assert "perplexity" not in ended["after"]
    for record in ended["metrics"]:
        prefix = "eval_" if record["kind"] == "eval" else ""
        assert f"{prefix}rewards/margins" in record
        assert f"{prefix}rewards/accuracies" in record
