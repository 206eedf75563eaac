"""The model, tokenizer, adapter and precision that a recipe asks for."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.models.llama import LlamaForCausalLM

from runner.errors import UserError
from runner.recipe.recipe import Data, Export, Recipe
from runner.train.export.save import save_merged, save_model
from runner.train.models.adapters import copy_to_reference, lora_config, make_scalable
from runner.train.models.loading import load_model
from runner.train.models.precision import model_dtype, precision
from runner.train.models.quantization import quantization_config
from support.fakes.fake_hub import empty_hub


def recipe(adapter=None, training=None, **model):
    return Recipe(
        name="test",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama", **model},
        data=Data(train=()),
        adapter=adapter,
        training=training or {},
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(cache):
    load_model(recipe(), cache_dir=cache)
    return next(cache.iterdir())


def test_weights_are_float32_unless_the_recipe_says_otherwise(cache):
    model, tokenizer = load_model(recipe(), cache_dir=cache)
    assert isinstance(model, LlamaForCausalLM)
    assert model.dtype is torch.float32
    assert len(tokenizer) == model.config.vocab_size
    assert load_model(recipe(dtype="bfloat16"), cache_dir=cache)[0].dtype is torch.bfloat16


def test_the_reference_adapter_is_a_copy_in_all_its_parts(cache):
    """TRL copies by a pattern of names, which an adapter of the embeddings does not fit."""
    config = LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"], init_lora_weights=False)
    model = get_peft_model(load_model(recipe(), cache_dir=cache)[0], config)
    copy_to_reference(model)  # there is none
    model.add_adapter("ref", config)
    names = get_peft_model_state_dict(model)
    assert any("lora_embedding" in name for name in names)
    assert not all(
        torch.equal(names[name], get_peft_model_state_dict(model, adapter_name="ref")[name]) for name in names
    )
    copy_to_reference(model)
    copied = get_peft_model_state_dict(model, adapter_name="ref")
    assert names.keys() == copied.keys()
    assert all(torch.equal(names[name], copied[name]) for name in names)
    assert model.active_adapter == "default"


def test_the_same_weights_come_each_time(cache):
    first, second = (load_model(recipe(), cache_dir=cache)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_loading_leaves_torchs_random_stream_alone(cache, folder):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_model(recipe(), cache_dir=cache)
    assert torch.equal(torch.rand(3), expected)


def test_the_attention_implementation_is_the_recipes(cache):
    model, _ = load_model(recipe(attn_implementation="eager"), cache_dir=cache)
    assert model.config._attn_implementation == "eager"


def test_a_folder_is_loaded(folder, tmp_path):
    model, _ = load_model(recipe(model_name_or_path=str(folder)), cache_dir=tmp_path)
    assert isinstance(model, LlamaForCausalLM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "dtype"),
    [({}, torch.float32), ({"dtype": "auto"}, "auto"), ({"dtype": "float16"}, torch.float16)],
)
def test_dtype_means_what_it_means_in_trl(model, dtype):
    assert model_dtype(model) == dtype


def test_nothing_is_quantized_unasked():
    assert quantization_config({}) is None
    assert quantization_config({"load_in_4bit": False}) is None


def test_four_bits_take_the_names_of_trl_and_of_bitsandbytes():
    config = quantization_config({"load_in_4bit": True, "use_bnb_nested_quant": True, "dtype": "bfloat16"})
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert config.bnb_4bit_compute_dtype is torch.bfloat16
    config = quantization_config(
        {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "bnb_4bit_compute_dtype": "float16"}
    )
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_compute_dtype) == ("fp4", torch.float16)


def test_eight_bits_take_the_names_of_bitsandbytes():
    config = quantization_config({"load_in_8bit": True, "llm_int8_threshold": 4.0})
    assert (config.load_in_8bit, config.llm_int8_threshold) == (True, 4.0)


def test_four_bits_load(cache):
    pytest.importorskip("bitsandbytes")
    model, _ = load_model(recipe(load_in_4bit=True), cache_dir=cache)
    assert model.is_loaded_in_4bit


@pytest.fixture(scope="module")
def prequantized(folder, tmp_path_factory):
    """A model as the hub has them under ``…-bnb-4bit``."""
    target = tmp_path_factory.mktemp("bnb-4bit")
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype="bfloat16",
    )
    AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantization).save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    return str(target)


@pytest.mark.parametrize("asked", [{}, {"load_in_4bit": True, "use_bnb_nested_quant": True}], ids=str)
def test_a_model_that_comes_quantized_computes_in_what_the_hardware_has(cache, prequantized, asked):
    what = recipe(model_name_or_path=prequantized, adapter={"r": 4}, **asked)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="You passed `quantization_config`")
        model, _ = load_model(what, cache_dir=cache)
    assert model.is_loaded_in_4bit
    if not torch.cuda.is_available():
        assert model.config.quantization_config.bnb_4bit_compute_dtype is torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "model.model_name_or_path: .* quantized weights cannot be trained"),
        ({"adapter": {"r": 4}, "load_in_8bit": True}, "model.load_in_8bit: True, and .* quantized with False"),
        ({"adapter": {"r": 4}, "bnb_4bit_quant_type": "fp4"}, "model.bnb_4bit_quant_type: fp4, and .* with nf4"),
    ],
)
def test_what_a_model_that_comes_quantized_cannot_do_is_said(cache, prequantized, settings, message):
    with pytest.raises(UserError, match=message):
        load_model(recipe(model_name_or_path=prequantized, **settings), cache_dir=cache)


def test_its_adapter_is_merged_into_what_it_was_made_from(cache, prequantized, tmp_path):
    what = recipe(model_name_or_path=prequantized, adapter={"r": 4, "target_modules": "all-linear"})
    with pytest.raises(UserError, match=r"export\.base: .* comes quantized"):
        load_model(replace(what, export=Export(merge=True)), cache_dir=cache)
    what = replace(what, export=Export(merge=True, base="builtin:tiny-llama"))
    model, tokenizer = load_model(what, cache_dir=cache)
    save_model(get_peft_model(model, lora_config(what)), tokenizer, tmp_path / "adapter")
    save_merged(what, tmp_path / "adapter", tmp_path / "merged", cache_dir=cache)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert not hasattr(merged.config, "quantization_config")


def test_where_gradients_are_scaled_the_weights_that_are_trained_are_float32():
    """TRL makes the adapter of a quantized model bfloat16; a T4 scales gradients, and torch unscales no such ones."""
    layer = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    layer.bias.requires_grad = False
    make_scalable(layer, fp16=False)
    assert layer.weight.dtype is torch.bfloat16
    make_scalable(layer, fp16=True)
    assert (layer.weight.dtype, layer.bias.dtype) == (torch.float32, torch.bfloat16)


def test_an_adapter_takes_pefts_names():
    assert lora_config(recipe()) is None
    config = lora_config(recipe(adapter={"r": 4, "lora_dropout": 0.1, "target_modules": "all-linear"}))
    assert isinstance(config, LoraConfig)
    assert (config.task_type, config.r, config.lora_dropout) == ("CAUSAL_LM", 4, 0.1)


def test_what_peft_refuses_is_a_mistake_in_the_recipe():
    with pytest.raises(UserError, match="adapter: "):
        lora_config(recipe(adapter={"r": 4, "layers_pattern": "layers", "target_modules": "all-linear", "nope": 1}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what holds without a GPU")
def test_a_cpu_computes_in_float32_unless_told_otherwise():
    assert precision({}) == {"bf16": False, "fp16": False}
    assert precision({"bf16": True}) == {"bf16": True, "fp16": False}


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what holds without a GPU")
def test_float16_needs_a_gpu():
    with pytest.raises(UserError, match=r"training\.fp16: this machine has no GPU"):
        precision({"fp16": True})


@pytest.mark.gpu
def test_the_recipes_float16_wins():
    assert precision({"fp16": True}) == {"bf16": False, "fp16": True}


def test_the_recipes_precision_wins():
    assert precision({"bf16": False}) == {"bf16": False, "fp16": False}


@pytest.mark.gpu
def test_a_gpu_computes_in_bfloat16_from_ampere_on_and_in_float16_before():
    is_ampere = torch.cuda.get_device_capability() >= (8, 0)
    assert precision({}) == {"bf16": is_ampere, "fp16": not is_ampere}
    assert precision({"use_cpu": True}) == {"bf16": False, "fp16": False}


@pytest.mark.gpu
def test_on_a_gpu_the_weights_go_straight_there(cache):
    model, _ = load_model(recipe(), cache_dir=cache)
    assert model.device.type == "cuda"
    assert model.dtype is torch.float32


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"model_name_or_path": "/nowhere/model"}, "model.model_name_or_path: there is no folder /nowhere/model"),
        ({"model_name_or_path": "builtin:nothing"}, "model.model_name_or_path: there is no built-in model"),
        ({"dtype": "float99"}, "model.dtype: 'float99' is not a type of weights"),
        ({"attn_implementation": "nothing"}, "model.attn_implementation: the model does not have this attention"),
    ],
)
def test_a_mistake_is_one_message_that_names_its_place(cache, model, message):
    with pytest.raises(UserError, match=message):
        load_model(recipe(**model), cache_dir=cache)


@pytest.mark.parametrize("config", [{}, {"model_type": "nothing"}, None])
def test_a_folder_that_holds_no_model_is_a_mistake(tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"has no tokenizer|cannot be loaded|no model of the type|no config\.json"):
        load_model(recipe(model_name_or_path=str(tmp_path)), cache_dir=tmp_path)


def test_damaged_weights_are_said_so(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="a file of the model's weights is damaged or cut off"):
        load_model(recipe(model_name_or_path=str(tmp_path)), cache_dir=tmp_path)


HUB_PROGRAM = """
import json, sys
from pathlib import Path
from runner.errors import UserError
from runner.recipe.recipe import Data, Recipe
from runner.train.models.loading import load_model
for name in sys.argv[1:]:
    recipe = Recipe(name="t", method="sft", model={"model_name_or_path": name}, data=Data(train=()))
    try:
        load_model(recipe, cache_dir=Path())
    except UserError as error:
        print(json.dumps(str(error)))
"""


def hub_messages(tmp_path, *names, **environment):
    """What is said of models on a hub; in a process of its own, since the hub's address is read at import."""
    finished = subprocess.run(
        [sys.executable, "-c", HUB_PROGRAM, *names],
        env={**os.environ, "HF_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in finished.stdout.splitlines()]


def test_what_the_hub_does_not_give_is_one_message_with_a_remedy(tmp_path):
    with empty_hub() as endpoint:
        messages = hub_messages(
            tmp_path, "someone/gated", "someone/missing", "someone/unpinned", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0"
        )
    gated, missing, unpinned = messages
    assert "model.model_name_or_path: someone/gated is gated" in gated
    assert "HF_TOKEN" in gated
    assert "someone/missing is not on the hub" in missing
    assert "model.model_revision" in unpinned


def test_offline_is_said_so(tmp_path):
    (message,) = hub_messages(tmp_path, "someone/something", HF_HUB_OFFLINE="1")
    assert message.startswith("model.model_name_or_path: someone/something cannot be loaded")
    assert "Offline, name a folder" in message
