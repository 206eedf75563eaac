"""What a model makes of a text does not depend on the texts before it."""

import copy

import pytest
import torch
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from runner.recipe.recipe import Data, Recipe
from runner.train.builtin.catalog import materialize
from runner.train.models.loading import load_model
from runner.train.models.rotary import forget_lengths

DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
PLAIN = {"rope_type": "default", "rope_theta": 10_000.0}
SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}


def llama(parameters):
    return LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=parameters))


def gemma():
    """With two kinds of layers, of which one stretches positions."""
    kinds = ["sliding_attention", "full_attention"]
    parameters = {"sliding_attention": PLAIN, "full_attention": DYNAMIC}
    return Gemma3ForCausalLM(
        Gemma3TextConfig(**SIZES, head_dim=16, layer_types=kinds, rope_parameters=parameters, sliding_window=16)
    )


def logits(model, length):
    with torch.no_grad():
        return model.eval()(torch.arange(length)[None]).logits


@pytest.mark.parametrize("make", [lambda: llama(DYNAMIC), gemma], ids=["llama", "gemma"])
def test_a_long_text_does_not_change_the_next_one(make):
    model = make()
    remembers = copy.deepcopy(model)
    forget_lengths(model)
    alone = {length: logits(copy.deepcopy(model), length) for length in (20, 32, 40, 80)}
    for length in (80, 40, 32, 80, 20, 40):
        assert torch.equal(logits(model, length), alone[length])
    logits(remembers, 80)
    assert not torch.equal(logits(remembers, 40), alone[40]), "else there is nothing to forget"
    assert torch.equal(logits(make_fresh(remembers), 40), alone[40])


def make_fresh(model):
    """The same weights in a model that has seen nothing."""
    fresh = type(model)(model.config)
    fresh.load_state_dict(model.state_dict())
    return fresh


def test_a_generation_does_not_change_the_next_one():
    model = llama(DYNAMIC)
    forget_lengths(model)
    prompt = torch.arange(30)[None]
    settings = {"do_sample": False, "max_new_tokens": 8, "pad_token_id": 0}
    first = model.generate(prompt, **settings)
    logits(model, 80)
    assert torch.equal(model.generate(prompt, **settings), first)


def test_positions_that_do_not_stretch_are_left_alone():
    model = llama(PLAIN)
    forget_lengths(model)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_recipes_model_forgets(tmp_path):
    llama(DYNAMIC).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path)).save_pretrained(tmp_path / "model")
    what = Recipe(name="test", method="sft", model={"model_name_or_path": str(tmp_path / "model")}, data=Data(train=()))
    model, _ = load_model(what, cache_dir=tmp_path)
    first = logits(model, 40)
    logits(model, 80)
    assert torch.equal(logits(model, 40), first)
