"""What each method sets on its own, against the libraries'."""

from dataclasses import replace
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl.trainer.utils import RepeatSampler

from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.recipe.schema import recipe_schema
from runner.train.builtin.catalog import materialize
from runner.train.methods.cpt import DEFAULTS, cpt_config
from runner.train.methods.dpo import dpo_config
from runner.train.methods.grpo import EpochSampler, grpo_config
from runner.train.models.adapters import check_head
from support.runs import recipe


@pytest.fixture
def small(tmp_path: Path) -> Recipe:
    """Settings that all methods have."""
    what = recipe(tmp_path / "data.jsonl", adapter=False)
    return replace(what, training={key: value for key, value in what.training.items() if key != "max_length"})


def test_continued_pretraining_packs_unless_told_not_to(small: Recipe, tmp_path: Path) -> None:
    config = cpt_config(small, tmp_path)
    assert (config.packing, config.packing_strategy) == (True, "bfd_split")
    assert not cpt_config(replace(small, training={**small.training, "packing": False}), tmp_path).packing


def test_the_schema_knows_the_defaults_of_the_script() -> None:
    """What `run.json` records as a default is what happens."""
    settings = recipe_schema("cpt")["properties"]["training"]["properties"]
    assert {name: settings[name]["default"] for name in DEFAULTS} == DEFAULTS


def test_one_kind_of_loss_may_be_written_without_a_list(small: Recipe, tmp_path: Path) -> None:
    config = dpo_config(replace(small, training={**small.training, "loss_type": "ipo"}), tmp_path)
    assert config.loss_type == ["ipo"]


def test_what_trl_refuses_of_grpo_is_the_recipes_mistake(small: Recipe, tmp_path: Path) -> None:
    training = {**small.training, "reward_funcs": ["builtin:length"], "num_generations": 3}
    with pytest.raises(UserError, match="must be divisible by"):
        grpo_config(replace(small, training=training), tmp_path)


def test_an_adapter_that_trls_loss_cannot_see_is_refused(tmp_path: Path) -> None:
    """Rows of tied embeddings: the head's weight is not where TRL reads it."""
    model = AutoModelForCausalLM.from_pretrained(materialize("builtin:tiny-llama", tmp_path))
    config = LoraConfig(target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [1, 2]})
    with pytest.raises(UserError, match=r"adapter\.trainable_token_indices: .* tied to its embeddings"):
        check_head(get_peft_model(model, config))


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_sampler_begins_any_epoch_as_trls_own_would_come_to_it(shuffle: bool) -> None:
    arguments = (range(10), 2, 3, 2, shuffle, 7)
    trls = RepeatSampler(*arguments)
    epochs = [list(trls) for _ in range(4)]
    assert (epochs[0] == epochs[1]) is not shuffle
    for epoch in (3, 0, 2):
        ours = EpochSampler(*arguments)
        ours.set_epoch(epoch)
        assert list(ours) == epochs[epoch]
