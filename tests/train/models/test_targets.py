"""Names in an adapter's settings that match nothing in the model."""

from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from runner.errors import UserError
from runner.train.models.targets import check_can_be_merged, check_targets

_SMALL = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(**_SMALL, num_hidden_layers=2))


def refusal(model: Any, **adapter: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        check_targets(model, LoraConfig(task_type="CAUSAL_LM", **adapter))
    return caught.value


_WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"target_modules": ["c_attn"]}, "target_modules", "`c_attn`"),
    ({"target_modules": ["q_proj", "w_proj"]}, "target_modules", "`w_proj`"),
    ({"target_modules": ["all-linear"]}, "target_modules", "`all-linear`"),
    ({"target_modules": "all"}, "target_modules", "`all`"),
    ({"target_modules": "q_proj,v_proj"}, "target_modules", "`q_proj,v_proj`"),
    ({"target_modules": "q_proj"}, "target_modules", "`q_proj`"),
    ({"target_modules": r".*\.(query|key)"}, "target_modules", "(query|key)"),
    ({"target_modules": "(q_proj"}, "target_modules", "regular expression"),
    ({"target_modules": ["mlp"]}, "target_modules", "`mlp`"),
    ({"target_modules": ["q_proj", "input_layernorm"]}, "target_modules", "`input_layernorm`"),
    ({"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}, "target_modules", "left to adapt"),
    ({"target_modules": "all-linear", "exclude_modules": ["w_proj"]}, "exclude_modules", "`w_proj`"),
    ({"target_modules": "all-linear", "exclude_modules": "w_proj"}, "exclude_modules", "`w_proj`"),
    ({"modules_to_save": ["embed_token"]}, "modules_to_save", "`embed_token`"),
    ({"rank_pattern": {"q_prj": 4}}, "rank_pattern", "`q_prj`"),
    ({"alpha_pattern": {"layers.7.q_proj": 4}}, "alpha_pattern", "`layers.7.q_proj`"),
    ({"rank_pattern": {"k_proj": 4}, "target_modules": ["q_proj"]}, "rank_pattern", "no adapted module"),
    ({"layers_to_transform": [0, 5], "target_modules": ["q_proj"]}, "layers_to_transform", "no layer 5"),
    ({"layers_to_transform": 2, "target_modules": ["q_proj"]}, "layers_to_transform", "no layer 2"),
    (
        {"layers_to_transform": [0], "layers_pattern": "h", "target_modules": ["q_proj"]},
        "layers_pattern",
        "`h`",
    ),
    ({"trainable_token_indices": [40]}, "trainable_token_indices", "no row 40"),
    ({"trainable_token_indices": {"wte": [1]}}, "trainable_token_indices", "`wte`"),
    ({"trainable_token_indices": {"embed_tokens": [1, 32]}}, "trainable_token_indices", "no row 32"),
    ({"target_parameters": ["experts.gate_up_proj"]}, "target_parameters", "`experts.gate_up_proj`"),
]


@pytest.mark.parametrize(("adapter", "key", "words"), _WRONG)
def test_a_name_that_matches_nothing_is_refused_at_its_key(
    adapter: dict[str, Any], key: str, words: str, llama: LlamaForCausalLM
) -> None:
    error = refusal(llama, **adapter)
    assert error.where == f"adapter.{key}"
    assert words in error.what
    if (
        key in ("target_modules", "rank_pattern")
        and "regular expression" not in words
        and "left" not in words
        and "adapted" not in words
    ):
        assert "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj" in str(error.remedy)


@pytest.mark.parametrize(
    "adapter",
    [
        {},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "layers.1.mlp.up_proj", "embed_tokens"]},
        {"target_modules": r".*layers\.[01]\.self_attn\.[qv]_proj", "exclude_modules": r".*\.1\..*q_proj"},
        {"target_modules": ["q_proj"], "layers_to_transform": [0, 1], "layers_pattern": "layers"},
        {"target_modules": ["q_proj"], "layers_to_transform": 1},
        {"modules_to_save": ["lm_head", "tokens"], "rank_pattern": {r"layers\.0\..*q_proj": 4, "v_proj": 2}},
        {"trainable_token_indices": [0, 31]},
        {"target_modules": [], "target_parameters": ["q_proj.weight"]},
    ],
)
def test_what_peft_applies_is_taken(adapter: dict[str, Any]) -> None:
    model = LlamaForCausalLM(LlamaConfig(**_SMALL, num_hidden_layers=2))
    config = LoraConfig(task_type="CAUSAL_LM", **adapter)
    check_targets(model, config)
    assert any(parameter.requires_grad for parameter in get_peft_model(model, config).parameters())


def test_the_linear_layers_of_gpt2_are_listed_though_they_are_no_torch_linear() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=8, n_embd=8, n_layer=1, n_head=1))
    error = refusal(model, target_modules=["q_proj"])
    assert "c_attn, c_proj, c_fc" in str(error.remedy)


def test_a_model_for_which_peft_has_no_default_needs_targets(llama: LlamaForCausalLM) -> None:
    class Unknown(LlamaConfig):
        model_type = "brand-new"

    model = LlamaForCausalLM(Unknown(**_SMALL, num_hidden_layers=1))
    error = refusal(model)
    assert (error.where, "brand-new" in error.what) == ("adapter.target_modules", True)


@pytest.mark.parametrize("tied_by_peft", [False, True])
@pytest.mark.parametrize("targets", [["q_proj", "embed_tokens"], r".*\.(q_proj|embed_tokens)"])
def test_a_lora_of_embeddings_that_the_head_shares_cannot_be_merged(targets: Any, tied_by_peft: bool) -> None:
    """As peft merges it, the head changes too."""
    config = LoraConfig(target_modules=targets, ensure_weight_tying=tied_by_peft)
    tied, untied = (LlamaForCausalLM(LlamaConfig(**_SMALL, tie_word_embeddings=tie)) for tie in (True, False))
    with pytest.raises(UserError, match="a LoRA of `embed_tokens` cannot be merged") as caught:
        check_can_be_merged(tied, config)
    assert caught.value.where == "adapter.target_modules"
    check_can_be_merged(untied, config)
    check_can_be_merged(tied, LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"]))
    check_can_be_merged(tied, LoraConfig(target_modules="all-linear"))
