"""Measuring is right, and leaves no trace in the training around it."""

import math
import random
from pathlib import Path

import numpy
import pytest
import torch
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from runner.errors import UserError
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.train.data.mixture import load_data
from runner.train.evaluation.measure import GENERATION_BATCH, generate, measure
from runner.train.models.adapters import lora_config
from runner.train.models.loading import load_model
from runner.train.models.precision import precision

RECIPE = Recipe(
    name="test",
    method="sft",
    model={"model_name_or_path": "builtin:tiny-llama"},
    adapter={"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"},
    data=Data(train=(DataSource(path="builtin:python-docstrings", sample=60),), eval_from_train=12),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data():
    return load_data(RECIPE, inputs=Path)


@pytest.fixture
def make_trainer(cache, data, tmp_path):
    """A trainer whose steps draw random numbers (dropout), so that a stream that moved shows."""

    def make(**settings):
        model, tokenizer = load_model(RECIPE, cache_dir=cache)
        arguments = {
            "output_dir": str(tmp_path),
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "max_length": 64,
            "logging_steps": 1,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            **precision(settings),
            **settings,
        }
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**arguments),
            train_dataset=data.train,
            eval_dataset=data.eval,
            processing_class=tokenizer,
            peft_config=lora_config(RECIPE),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return make


def trained(trainer):
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, {name: weight.clone() for name, weight in trainer.model.state_dict().items()}


def assert_same(first, second):
    assert first[0] == second[0]
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


def test_a_measurement_is_loss_perplexity_and_speed(make_trainer):
    trainer = make_trainer()
    measured = measure(trainer)
    assert measured["eval_loss"] == trainer.evaluate()["eval_loss"]
    assert 7 < measured["eval_loss"] < 8.5  # a model that knows nothing: log of 2048 tokens is 7.6
    assert measured["perplexity"] == math.exp(measured["eval_loss"])
    assert measured["samples_per_second"] > 0


def test_a_training_that_was_measured_first_goes_on_as_if_it_had_not_been(make_trainer):
    undisturbed = trained(make_trainer())
    trainer = make_trainer()
    measure(trainer)
    generate(trainer.model, trainer.processing_class, ["Class a.B:"], max_new_tokens=4, conversational=False)
    assert_same(trained(trainer), undisturbed)


@pytest.mark.gpu
def test_a_training_in_mixed_precision_too(make_trainer):
    """There, evaluating first prepares the model for autocast, and training prepares it again."""
    undisturbed = trained(make_trainer())
    trainer = make_trainer()
    measure(trainer)
    assert_same(trained(trainer), undisturbed)


def test_measuring_leaves_the_trainers_books_and_the_random_streams_as_they_were(make_trainer):
    trainer = make_trainer()
    trainer.train()
    trainer._metrics["train"]["entropy"].append(1.0)

    def traces():
        return (
            {
                mode: {name: list(values) for name, values in kept.items() if values}
                for mode, kept in trainer._metrics.items()
            },
            trainer._total_train_tokens,
            list(trainer.state.log_history),
            vars(trainer.control),
            hasattr(trainer, "model_preparation_time"),
            random.getstate(),
            torch.get_rng_state().tolist(),
            numpy.random.get_state()[1].tolist(),
        )

    trainer.model.train()
    before = traces()
    measure(trainer)
    after = traces()
    assert before[1:] == after[1:]
    assert before[0]["train"] == after[0]["train"] == {"entropy": [1.0]}
    assert trainer.model.training


def test_records_after_a_first_measurement_have_the_same_keys(make_trainer):
    """transformers would add the time that the first one spent on preparing the model to every later one."""
    trainer = make_trainer()
    measure(trainer)
    trainer.train()
    assert "eval_model_preparation_time" not in trainer.evaluate()


def test_without_evaluation_data_there_is_a_remedy(make_trainer):
    trainer = make_trainer()
    trainer.eval_dataset = None
    with pytest.raises(UserError, match=r"evaluate\.before_and_after: .*\n.*from_train"):
        measure(trainer)


@pytest.fixture(scope="module")
def model_and_tokenizer(cache):
    return load_model(RECIPE, cache_dir=cache)


def generated(model_and_tokenizer, prompts, **settings):
    settings = {"max_new_tokens": 6, "conversational": False, **settings}
    return generate(*model_and_tokenizer, prompts, **settings)


def test_generation_is_greedy_and_the_same_each_time(model_and_tokenizer):
    prompts = ["Class a.B:", "Function os.remove_file(path):"]
    first = generated(model_and_tokenizer, prompts)
    torch.manual_seed(1)
    assert generated(model_and_tokenizer, prompts) == first
    assert len(first) == 2


def test_prompts_of_different_lengths_do_not_disturb_each_other(model_and_tokenizer):
    prompts = [f"Function words.count({', '.join('abcdefghijk'[:n])}):" for n in range(GENERATION_BATCH + 3)]
    alone = [generated(model_and_tokenizer, [prompt])[0] for prompt in prompts]
    assert generated(model_and_tokenizer, prompts) == alone


def test_no_prompts_no_texts(model_and_tokenizer):
    assert generated(model_and_tokenizer, []) == []


def test_a_prompt_is_a_users_message_where_the_data_are_conversations(model_and_tokenizer):
    text = "<|im_start|>user\nClass a.B:<|im_end|>\n<|im_start|>assistant\n"
    as_message = generated(model_and_tokenizer, ["Class a.B:"], conversational=True)
    assert as_message == generated(model_and_tokenizer, [text])
    assert as_message != generated(model_and_tokenizer, ["Class a.B:"])


def test_without_a_chat_template_a_prompt_is_text(model_and_tokenizer, monkeypatch):
    monkeypatch.setattr(model_and_tokenizer[1], "chat_template", None)
    plain = generated(model_and_tokenizer, ["Class a.B:"], conversational=False)
    assert generated(model_and_tokenizer, ["Class a.B:"], conversational=True) == plain


def test_generating_leaves_mode_padding_and_random_streams_alone(model_and_tokenizer, monkeypatch):
    model, tokenizer = model_and_tokenizer
    monkeypatch.setattr(tokenizer, "padding_side", "right")
    model.train()
    state = torch.get_rng_state()
    generated(model_and_tokenizer, ["Class a.B:", "x"])
    assert model.training
    assert tokenizer.padding_side == "right"
    assert torch.equal(torch.get_rng_state(), state)


def test_generating_leaves_each_module_in_its_own_mode(model_and_tokenizer):
    """A loaded model is in evaluation mode, and the adapter that peft adds is in training mode."""
    model, _ = model_and_tokenizer
    model.train()
    model.lm_head.eval()
    before = [module.training for module in model.modules()]
    generated(model_and_tokenizer, ["x"])
    assert [module.training for module in model.modules()] == before
    model.train()


def test_a_tokenizer_without_padding_gets_by_and_stays_without(model_and_tokenizer):
    _, tokenizer = model_and_tokenizer
    expected = generated(model_and_tokenizer, ["Class a.B:", "x"])
    padding = tokenizer.pad_token
    tokenizer.pad_token = None
    try:
        assert generated(model_and_tokenizer, ["Class a.B:", "x"]) == expected
        assert tokenizer.pad_token is None
    finally:
        tokenizer.pad_token = padding
