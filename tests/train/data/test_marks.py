"""Turns that are marked as not to be learned have no label when TRL has prepared the rows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from runner.recipe.recipe import Data, DataSource, Recipe
from runner.train.builtin.catalog import materialize
from runner.train.data.loss.answers import tokenize_answers
from runner.train.data.mixture import load_data

USER = {"role": "user", "content": "one"}


@pytest.mark.parametrize("training", [{}, {"assistant_only_loss": True}], ids=["default", "assistant_only_loss"])
def test_only_turns_without_a_mark_have_labels(tmp_path: Path, training: dict[str, Any]) -> None:
    bad, worse = ({"role": "assistant", "content": "BAD", **mark} for mark in ({"weight": 0}, {"train": False}))
    good, fine = ({"role": "assistant", "content": word} for word in ("GOOD", "FINE"))
    rows = [{"messages": [USER, bad, USER, good, USER, worse, USER, fine]}, {"messages": [USER, good]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = Data(train=(DataSource(path=str(tmp_path / "rows.jsonl")),))
    loaded = load_data(Recipe(name="t", method="sft", model={}, data=data, training=training), inputs=Path)
    folder = materialize("builtin:tiny-llama", tmp_path / "cache")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = SFTConfig(output_dir=str(tmp_path / "out"), report_to="none", use_cpu=True, bf16=False, **training)
    model = AutoModelForCausalLM.from_pretrained(folder)
    trainer = SFTTrainer(model=model, args=config, train_dataset=loaded.train, processing_class=tokenizer)
    learned = [
        tokenizer.decode([token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100])
        for row in trainer.train_dataset
    ]
    assert sorted(text.replace("<|im_end|>", "").strip() for text in learned) == ["FINE", "GOOD", "GOOD"]


@pytest.mark.parametrize(
    ("turns", "answers"), [("all", ["a", "b", "c", "d"]), ("last", ["c", "d"]), ("marked", ["a", "d"])]
)
def test_the_recipe_says_which_answers_are_learned(tmp_path: Path, turns: str, answers: list[str]) -> None:
    """Of a template without marks, too."""
    a, b, c, d = ({"role": "assistant", "content": word} for word in "abcd")
    rows = [{"messages": [USER, {**a, "weight": 1}, USER, b, USER, c]}, {"messages": [USER, {**d, "train": True}]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = {"train_on_turns": turns}
    data = Data(train=(DataSource(path=str(tmp_path / "rows.jsonl")),))
    loaded = load_data(Recipe(name="t", method="sft", model={}, data=data, training=training), inputs=Path)
    tokenizer = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path / "cache"))
    tokenizer.chat_template = re.sub(r"\{%-? (end)?generation -?%\}", "", tokenizer.chat_template)
    made = tokenize_answers(loaded, tokenizer, training)
    learned: list[str] = []
    for row in made.train:
        kept = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
        learned += tokenizer.decode(kept).replace("<|im_end|>", " ").split()
    assert sorted(learned) == answers
