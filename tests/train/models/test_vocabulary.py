"""Tokens that a model has no embeddings for, rows beyond its positions, and tokenizers that know nothing."""

import logging
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer

from runner.errors import UserError
from runner.recipe.recipe import Data, Recipe
from runner.train.builtin.catalog import materialize
from runner.train.models.loading import load_model
from runner.train.models.vocabulary import check_embeddings, check_named_tokens, check_positions


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materialize("builtin:tiny-llama", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tokenizer(source: Path) -> Any:
    made = AutoTokenizer.from_pretrained(source)
    made.add_tokens(["<|new|>"])
    return made


def llama(tokenizer: Any, *, rows: int = -1, positions: int = 64) -> LlamaForCausalLM:
    """A model with embeddings for all tokens but the one that was added."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=len(tokenizer) + rows, max_position_embeddings=positions, **sizes)
    return LlamaForCausalLM(config)


def of(tokenizer: Any, column: str, *texts: str) -> dict[str, Dataset]:
    return {"data.train": Dataset.from_dict({column: [tokenizer(text)["input_ids"] for text in texts]})}


@pytest.mark.parametrize("column", ["input_ids", "prompt_ids", "chosen_ids", "rejected_ids"])
def test_a_token_beyond_the_embeddings_is_named(column: str, tokenizer: Any) -> None:
    model = llama(tokenizer)
    with pytest.raises(UserError) as caught:
        check_embeddings(model, tokenizer, of(tokenizer, column, "word", "a <|new|> b"), {})
    assert "data.train" in caught.value.what
    assert f"`<|new|>` ({len(tokenizer) - 1})" in caught.value.what
    assert f"{len(tokenizer) - 1} rows" in caught.value.what
    check_embeddings(model, tokenizer, of(tokenizer, column, "word", "a b"), {})
    check_embeddings(llama(tokenizer, rows=0), tokenizer, of(tokenizer, column, "a <|new|> b"), {})


@pytest.mark.parametrize(
    "adapter",
    [
        {"target_modules": ["embed_tokens"]},
        {"target_modules": ["embed_tokens"], "use_dora": True},
        {"modules_to_save": ["embed_tokens"]},
        {"trainable_token_indices": [3, 4]},
    ],
)
def test_adapters_of_the_embeddings_change_nothing(adapter: dict[str, Any], tokenizer: Any) -> None:
    model = get_peft_model(llama(tokenizer), LoraConfig(r=2, **{"target_modules": ["q_proj"], **adapter}))
    with pytest.raises(UserError, match=rf"no embeddings for.* have {len(tokenizer) - 1} rows"):
        check_embeddings(model, tokenizer, of(tokenizer, "input_ids", "a <|new|> b"), {})
    check_embeddings(model, tokenizer, of(tokenizer, "input_ids", "a b"), {})


def test_a_prompt_and_a_templates_tokens_count_too(tokenizer: Any) -> None:
    model = llama(tokenizer)
    with pytest.raises(UserError, match=r"evaluate\.prompts has tokens"):
        check_embeddings(model, tokenizer, {}, {"evaluate.prompts": ["word", "<|new|>"]})
    tokenizer.chat_template = "{% for m in messages %}<|new|>{{ m['content'] }}{% endfor %}"
    turns = [[{"role": "user", "content": "word"}]]
    with pytest.raises(UserError, match=r"data\.train has tokens"):
        check_embeddings(model, tokenizer, {}, {"data.train": turns})


@pytest.mark.parametrize("name", ["eos_token", "pad_token"])
def test_an_end_or_padding_token_beyond_the_embeddings_is_refused(name: str, tokenizer: Any) -> None:
    setattr(tokenizer, name, "<|new|>")
    with pytest.raises(UserError, match=f"the tokenizer's {name} has tokens"):
        check_embeddings(llama(tokenizer), tokenizer, {}, {})


@pytest.mark.parametrize("key", ["eos_token", "pad_token"])
def test_a_token_that_the_recipe_names_is_in_the_vocabulary(key: str, tokenizer: Any) -> None:
    check_named_tokens(tokenizer, {key: "<|new|>"})
    with pytest.raises(UserError, match="`<eos>` is not in the vocabulary") as caught:
        check_named_tokens(tokenizer, {key: "<eos>"})
    assert caught.value.where == f"training.{key}"
    assert str(tokenizer.eos_token) in str(caught.value.remedy)


def positions(model: Any, tokenizer: Any, datasets: Any, *, limit: int | None = None, prompts: Any = ()) -> None:
    check_positions(
        model,
        tokenizer,
        datasets,
        {"evaluate.prompts": list(prompts)},
        max_length=limit,
        new_tokens={"evaluate.prompts": 6},
    )


def test_a_table_of_positions_has_an_end(tokenizer: Any) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=8, n_embd=8, n_layer=1, n_head=1))
    rows = {"data.train": Dataset.from_dict({"input_ids": [[1] * 5, [1] * 9]})}
    with pytest.raises(UserError, match="rows of 9 tokens, and the model has 8 positions") as caught:
        positions(model, tokenizer, rows)
    assert caught.value.where == "training.max_length"
    positions(model, tokenizer, rows, limit=8)
    pairs = {"data.train": Dataset.from_dict({"prompt_ids": [[1] * 5], "chosen_ids": [[1]], "rejected_ids": [[1] * 4]})}
    with pytest.raises(UserError, match="rows of 9 tokens"):
        positions(model, tokenizer, pairs)
    packed = {"data.train": Dataset.from_dict({"input_ids": [[1] * 12], "seq_lengths": [[7, 5]]})}
    positions(model, tokenizer, packed)
    positions(model, tokenizer, {}, prompts=["a"])
    with pytest.raises(UserError, match=r"evaluate\.prompts has a prompt of"):
        positions(model, tokenizer, {}, prompts=["a b c d e f g h i j"])


def test_rows_beyond_rotary_positions_are_said(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = {"data.train": Dataset.from_dict({"input_ids": [[1] * 9]})}
    positions(llama(tokenizer, positions=8), tokenizer, rows)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "rows of 9 tokens, and the model has 8 positions" in record.message
    positions(llama(tokenizer, positions=9), tokenizer, rows)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_a_model_folder_without_a_tokenizer_is_refused(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    """transformers makes an empty tokenizer for the first, and fails with a page of text on the second."""
    model = llama(tokenizer)
    model.save_pretrained(tmp_path)
    if kind == "qwen":
        config = tmp_path / "config.json"
        config.write_text(config.read_text().replace('"llama"', '"qwen2"').replace("Llama", "Qwen2"))
    recipe = Recipe(name="r", method="sft", model={"model_name_or_path": str(tmp_path)}, data=Data(train=()))
    with pytest.raises(UserError, match="has no tokenizer") as caught:
        load_model(recipe, cache_dir=tmp_path / "cache")
    assert caught.value.where == "model.model_name_or_path"
    assert "tokenizer.json" in str(caught.value.remedy)
