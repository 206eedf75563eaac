"""What other tools' users write is answered by what to write here, and never by what is refused, too."""

from typing import Any

import pytest

from runner.recipe.rules.reserved import TRAINING
from runner.recipe.schema import recipe_schema
from runner.recipe.suggestions import remedy_for_unknown
from support.recipes import Refuse, settings_of


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method=lora", "`adapter: {r: 16"),
        ("method=qlora", "`load_in_4bit: true`"),
        ("method=full", "no `adapter:`"),
        ("method=pretrain", "`method: cpt`"),
        ("method=simpo", "not supported yet"),
        ("data.train.0.format=chatml", "`format: messages`"),
        ("data.train.0.format=chat_template", "`format: messages`"),
        ("data.train.0.format=openai", "`format: messages`"),
        ("data.train.0.format=completion", "`format: text`"),
        ("data.train.0.format=chatml.intel", "`format: messages`"),
        ("data.eval=0.1", "`eval: {from_train: 0.1}`"),
        ("data.eval={from_train: 10%}", "write 0.1"),
        ("training.bf16=auto", "leave it out: it is chosen"),
        ("training.per_device_train_batch_size=auto", "`effective_batch_size`"),
        ("training.dataloader_num_workers=auto", "leave it out"),
        ("model=Qwen/Qwen2.5-0.5B", "`model: {model_name_or_path: Qwen/Qwen2.5-0.5B}`"),
        ("stage=sft", "write `method: sft`"),
        ("val_set_size=0.1", "write `data: {eval: {from_train: …}}`"),
        ("dataset_name=x", "write the dataset under `data:`"),
        ("training.embedding_learning_rate=1e-5", "one `learning_rate`"),
        ("training.desirable_weight=1", "KTO"),
        ("training.unfrozen_parameters=[a]", "not supported yet"),
        ("data.chat_template=chatml", "chat_template_path"),
    ],
)
def test_a_word_of_another_tool_is_answered(refuse: Refuse, override: str, words: str) -> None:
    assert words in (refuse(override).remedy or str(refuse(override)))


TAKEN_THERE = ("ddp_backend", "train_sampling_strategy", "dataloader_in_order")
"""Settings of which `training:` takes some values."""


@pytest.mark.parametrize("key", [*TRAINING, "lora_r", "lora_alpha", "use_peft", "lora_target_modules"])
def test_a_remedy_does_not_lead_into_a_second_refusal(key: str) -> None:
    whole = recipe_schema("sft")
    for section in ((), ("model",), ("data",)):
        known = whole["properties"] if not section else whole["properties"][section[0]]["properties"]
        if key in known:
            continue
        remedy = remedy_for_unknown((*section, key), known, whole)
        assert "belongs under" not in remedy or key in TAKEN_THERE


@pytest.mark.parametrize(("word", "choice"), [("simpo", "ipo"), ("kto", "bco_pair")])
def test_a_method_of_its_own_is_not_taken_for_another(refuse: Refuse, word: str, choice: str) -> None:
    template = "data.train.0.template={prompt: '{prompt}', chosen: '{completion}', rejected: '{prompt}'}"
    error: Any = refuse("method=dpo", template, f"training.loss_type={word}")
    assert f"did you mean `{choice}`" not in str(error)


def test_what_the_rules_say_comes_in_the_same_round_as_what_the_schema_says(refuse: Refuse) -> None:
    error = refuse("training.save_safetensors=true", "training.max_steps=5", "training.num_train_epochs=2")
    assert set(settings_of(error)) >= {"training.save_safetensors"}
    assert len(settings_of(error)) > 1, error


def test_what_was_taken_out_is_not_complained_of_again(refuse: Refuse) -> None:
    assert settings_of(refuse("method=dpoo")) == ["method"]
    assert settings_of(refuse("data.train.0.pth=x")) == ["data.train.0.pth"]
