"""Model shapes: what is counted from a config is what the real classes have, parameter for parameter."""

import contextlib
import json
import re
import time
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, AutoModelForCausalLM

from runner.errors import UserError
from runner.fit.families import COMPARED
from runner.fit.fit import workloads
from runner.fit.model_shape import bundled_config, lora_parameters, shape_of
from runner.recipe.recipe import Data, DataSource, Recipe

NAMES = [
    "builtin:tiny-llama",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "unsloth/Llama-3.2-1B-Instruct",
    "Qwen/Qwen2.5-Coder-1.5B-Instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "unsloth/DeepSeek-R1-0528-Qwen3-8B-unsloth-bnb-4bit",
]
PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "unsloth/Llama-3.2-1B-Instruct": 1_235_814_400,
    "Qwen/Qwen2.5-Coder-1.5B-Instruct": 1_543_714_304,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "unsloth/DeepSeek-R1-0528-Qwen3-8B-unsloth-bnb-4bit": 8_190_735_360,
}
"""Numbers of parameters as the models' pages on the hub have them."""

CONFIG = bundled_config("HuggingFaceTB/SmolLM2-135M-Instruct") or {}

SMALL: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16},
    "gemma2": {"head_dim": 16},
    "phi3": {"pad_token_id": 0},
    "mistral": {},
}


def on_meta(config: dict[str, Any]) -> Any:
    """The real class with weights that take no memory."""
    known = {key: value for key, value in config.items() if key != "quantization_config"}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**known))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_real_class(name: str) -> None:
    config = bundled_config(name)
    assert config is not None
    shape = shape_of(config, name=name)
    assert shape.parameters == on_meta(dict(config)).num_parameters()
    assert shape.parameters == PUBLISHED.get(name, shape.parameters)


@pytest.mark.parametrize("kind", SMALL)
def test_parameters_of_other_families_are_those_of_the_real_class(kind: str) -> None:
    config = {
        "model_type": kind,
        "vocab_size": 128,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
        **SMALL[kind],
    }
    assert shape_of(config).parameters == on_meta(config).num_parameters()


@pytest.mark.parametrize(
    "adapter",
    [
        {"r": 16, "target_modules": "all-linear"},
        {"r": 8},
        {"r": 4, "target_modules": ["q_proj", "down_proj"], "use_dora": True},
        {"r": 4, "target_modules": r".*layers\.[01]\.self_attn\.(q|k)_proj"},
    ],
)
@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen2.5-Coder-1.5B-Instruct"])
def test_adapters_have_as_many_weights_as_pefts(name: str, adapter: dict[str, Any]) -> None:
    config = bundled_config(name)
    assert config is not None
    model = get_peft_model(on_meta(dict(config)), LoraConfig(task_type="CAUSAL_LM", **adapter))
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert lora_parameters(shape_of(config), adapter) == trained


def test_layers_that_a_quantized_model_skips_are_counted() -> None:
    config = dict(bundled_config("Qwen/Qwen3-8B") or {})
    quantization = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    skipped = ["lm_head", "model.layers.0.mlp", "model.layers.1.self_attn.q_proj"]
    shape = shape_of({**config, "quantization_config": {**quantization, "llm_int8_skip_modules": skipped}})
    kept = 3 * 4096 * 12288 + 4096 * 4096
    assert shape.share_not_quantized == kept / shape.linear_weights


def test_a_config_that_is_no_language_models_is_refused() -> None:
    with pytest.raises(UserError, match="its config has no `hidden_size`"):
        shape_of({"model_type": "resnet"})


def test_a_target_that_the_model_has_not_is_refused() -> None:
    shape = shape_of(bundled_config("builtin:tiny-llama") or {})
    with pytest.raises(UserError, match="write `all-linear`, or some of: q_proj"):
        shape.targets({"target_modules": ["c_attn"]})


@pytest.mark.parametrize(
    "pattern",
    ["(.*)*x", "(a+|_+|.)+z", "(.*_?)*\\d", "((((.*)*)*)*)*!", "(?=(.*)+)(.*)+\\1!", "(" * 500, "a" * 100_000],
)
def test_no_pattern_of_a_recipe_keeps_a_plan_waiting(pattern: str) -> None:
    """Python's engine takes for ever over most of these."""
    shape = shape_of(CONFIG)
    began = time.monotonic()
    with contextlib.suppress(UserError):
        shape.targets({"target_modules": pattern, "exclude_modules": pattern + "y"})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("pattern", "count"),
    [(r".*\.(q|v)_proj", 2), (r".*(?<!k)_proj", 6), (r".*self_attn.*(?:q|k|v|o)_proj", 4), (r"(?i).*\.Q_PROJ", 1)],
)
def test_patterns_match_as_pythons_do(pattern: str, count: int) -> None:
    shape = shape_of(CONFIG)
    layers = shape.targets({"target_modules": pattern})
    names = [f"model.layers.0.{linear.name}" for linear in shape.linears]
    assert len(layers) == count == sum(re.fullmatch(pattern, name) is not None for name in names)


@pytest.mark.parametrize("layers", [-1, 1e400, float("nan"), 10**400, 10**9])
def test_a_config_with_absurd_numbers_cannot_be_planned(layers: float) -> None:
    with pytest.raises(UserError, match="num_hidden_layers"):
        shape_of({**CONFIG, "num_hidden_layers": layers})


SIZES: dict[str, dict[str, Any]] = {
    # What a family's default config leaves out: another attention, other widths, blocks of two kinds.
    "falcon": {"new_decoder_architecture": True, "num_kv_heads": 8, "num_hidden_layers": 4},
    "gpt_bigcode": {"multi_query": False, "n_layer": 4},
    "deepseek_v3": {"q_lora_rank": None, "first_k_dense_replace": 1, "num_hidden_layers": 4, "n_routed_experts": 8},
    "jamba": {"num_hidden_layers": 16, "num_experts": 4, "attn_layer_period": 4, "attn_layer_offset": 2},
    "qwen3_5_text": {"num_hidden_layers": 8, "layer_types": ["linear_attention", "full_attention"] * 4},
    "lfm2": {"num_hidden_layers": 4, "layer_types": ["conv", "conv", "full_attention", "conv"]},
    "ernie4_5_moe": {"moe_num_experts": 8, "moe_layer_start_index": 2, "num_hidden_layers": 6},
    "llama4_text": {"num_hidden_layers": 4, "interleave_moe_layer_step": 2, "moe_layers": None, "num_local_experts": 4},
    "qwen3_moe": {"num_hidden_layers": 4, "num_experts": 8, "decoder_sparse_step": 2},
    "opt": {"num_hidden_layers": 3},
}


@pytest.mark.parametrize("kind", SIZES)
def test_sizes_that_are_not_a_familys_default_are_counted_within_1_percent(kind: str) -> None:
    made = AutoConfig.for_model(kind, **SIZES[kind])
    with torch.device("meta"):
        real = AutoModelForCausalLM.from_config(made).num_parameters()
    assert shape_of({**made.to_dict(), "model_type": kind}).parameters == pytest.approx(real, rel=0.01)


@pytest.mark.thorough
def test_every_causal_architecture_of_transformers_is_counted_or_named_as_not_compared() -> None:
    """Of each the default config, on torch's meta device and by the table here."""
    off: dict[str, float] = {}
    counted = set()
    for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        try:
            made = AutoConfig.for_model(kind)
            with torch.device("meta"):
                real = AutoModelForCausalLM.from_config(made).num_parameters()
            estimated = shape_of({**json.loads(made.to_json_string(use_diff=False)), "model_type": kind}).parameters
        except Exception:  # noqa: BLE001 # a default config that makes no model, or a package that is missing
            continue
        counted.add(kind)
        if kind in COMPARED and abs(estimated / real - 1) > 0.01:
            off[kind] = estimated / real - 1
    assert not off
    assert counted >= COMPARED


def test_the_plan_says_that_a_type_was_never_compared() -> None:
    recipe = Recipe(
        name="r", method="sft", model={"model_name_or_path": "m"}, data=Data(train=(DataSource(path="a/b"),))
    )
    [unknown] = workloads(recipe, {**CONFIG, "model_type": "brand_new"})
    [known] = workloads(recipe, CONFIG)
    assert any("no test has compared the size of a model of type brand_new" in note for note in unknown.assumptions)
    assert not any("compared" in note for note in known.assumptions)
