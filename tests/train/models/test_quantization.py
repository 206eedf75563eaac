"""An evaluation leaves 4-bit weights as they are, also where bitsandbytes would repack them (CPUs with AVX512-BF16).

Each test claims that instruction set, so that it means the same on every CPU.
"""

import copy

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from runner.recipe.recipe import Data, Recipe
from runner.train.builtin.catalog import materialize
from runner.train.models.adapters import lora_config
from runner.train.models.loading import load_model
from runner.train.models.quantization import quantization_config

bitsandbytes = pytest.importorskip("bitsandbytes")

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="says what holds on a CPU")


def recipe(path, **model):
    return Recipe(
        name="test",
        method="sft",
        model={"model_name_or_path": str(path), **model},
        data=Data(train=()),
        adapter={"r": 4, "target_modules": "all-linear"},
    )


@pytest.fixture(autouse=True)
def _avx512bf16(monkeypatch):
    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose layers have biases, as Qwen2's have."""
    target = tmp_path_factory.mktemp("biased")
    tokenizer = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", target))
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zeros in a model that is not trained
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(target / "model")
    tokenizer.save_pretrained(target / "model")
    return target / "model"


@pytest.fixture(scope="module")
def prequantized(folder, tmp_path_factory):
    """The same as the hub has them under ``…-bnb-4bit``."""
    target = tmp_path_factory.mktemp("bnb-4bit")
    config = quantization_config({"load_in_4bit": True, "bnb_4bit_use_double_quant": True})
    AutoModelForCausalLM.from_pretrained(folder, quantization_config=config).save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    return target


FOUR_BITS = [{"load_in_4bit": True}, {"load_in_4bit": True, "bnb_4bit_use_double_quant": True}]


@pytest.fixture(params=[*FOUR_BITS, None], ids=["quantized", "twice", "comes quantized"])
def load(request, folder, prequantized, tmp_path):
    """Loads the model, quantized here or before."""
    what = recipe(prequantized) if request.param is None else recipe(folder, **request.param)
    return lambda: load_model(what, cache_dir=tmp_path)[0]


def with_adapter(model):
    torch.manual_seed(1)
    return get_peft_model(model, lora_config(recipe("")))


def weights(model):
    """Everything of a model's 4-bit layers: the packed weights, and what is needed to unpack them."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            state = module.weight.quant_state
            found[name] = {"weight": module.weight.detach().clone(), "dtype": state.dtype, "nested": state.nested}
            found[name] |= {key: value.clone() for key, value in state.as_dict(packed=True).items()}
    return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, values in second.items():
        assert first[name].keys() == values.keys()
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(first[name][key], value), (name, key)
            else:
                assert first[name][key] == value, (name, key)


def gradients(model):
    """What one training step makes of the adapter's parameters."""
    tokens = torch.arange(50, 70)[None]
    model.train()
    model(input_ids=tokens, labels=tokens).loss.backward()
    return {name: {"grad": weight.grad} for name, weight in model.named_parameters() if weight.grad is not None}


def test_bitsandbytes_would_repack(monkeypatch):
    """What all other tests here are about; without it, they would show nothing."""
    monkeypatch.setattr(bitsandbytes, "matmul_4bit", lambda x, *_, **__: x)  # its kernel exists on such a CPU only
    layer = bitsandbytes.nn.Linear4bit(64, 64, quant_type="nf4").to("cpu")
    before = layer.weight.detach().clone()
    layer.train()(torch.zeros(1, 64))
    assert torch.equal(layer.weight, before)
    layer.eval()(torch.zeros(1, 64))
    assert not torch.equal(layer.weight.reshape(-1), before.reshape(-1))


def test_an_evaluation_leaves_the_weights(load):
    model = with_adapter(load())
    before = weights(model)
    assert before
    model.eval()
    with torch.no_grad():
        model(torch.arange(50, 70)[None])
        model.generate(torch.arange(50, 70)[None], max_new_tokens=3, do_sample=False)
    assert_same(weights(model), before)


def test_a_copy_leaves_them_too(load):
    model = copy.deepcopy(load())
    before = weights(model)
    with torch.no_grad():
        model.eval()(torch.arange(50, 70)[None])
    assert_same(weights(model), before)


def test_training_after_an_evaluation_is_training_without_one(load):
    """The gradients with respect to every layer, which the kernel for repacked weights does not have."""
    undisturbed = gradients(with_adapter(load()))
    model = with_adapter(load())
    with torch.no_grad():
        model.eval()(torch.arange(50, 70)[None])
    assert len(undisturbed) == 2 * 7 * 2
    assert_same(gradients(model), undisturbed)


def test_an_evaluation_with_gradients_does_not_fail(load):
    """A biased layer adds its bias in place to what the kernel for repacked weights returns."""
    model = with_adapter(load()).eval()
    tokens = torch.arange(50, 70)[None]
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            assert model(input_ids=tokens, labels=tokens).loss.isfinite()


def test_layers_that_the_kernel_does_not_take_are_evaluated(tmp_path):
    """It wants outputs in 32s and inputs in whole blocks of 64."""
    tokenizer = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path))
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=72,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    model, _ = load_model(recipe(tmp_path / "model", load_in_4bit=True), cache_dir=tmp_path)
    with torch.no_grad():
        assert model.eval()(torch.arange(50, 70)[None]).logits.isfinite().all()
