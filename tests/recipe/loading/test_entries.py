"""What somebody writes after ``--data`` is an entry of a recipe's data, checked like one."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.loading.entries import evaluation_entry
from runner.recipe.recipe import Recipe
from support.recipes import Check


@pytest.fixture
def recipe(check: Check, tmp_path: Path) -> Recipe:
    (tmp_path / "train.jsonl").write_text(json.dumps({"question": "a", "solution": "b"}) + "\n")
    entry = '{path: train.jsonl, template: {prompt: "{question}", completion: "{solution}"}}'
    return check(f"data.train.0={entry}").recipe


def written(folder: Path, name: str, **row: Any) -> str:
    (folder / name).write_text(json.dumps(row) + "\n")
    return str(folder / name)


def test_rows_that_speak_for_themselves_are_read_as_they_are(recipe: Recipe, tmp_path: Path) -> None:
    path = written(tmp_path, "test.jsonl", prompt="a", completion="b")
    assert evaluation_entry("test.jsonl", recipe, cwd=tmp_path) == {"path": path}


def test_other_rows_are_read_like_the_recipes_own(recipe: Recipe, tmp_path: Path) -> None:
    path = written(tmp_path, "test.jsonl", question="a", solution="b")
    entry = evaluation_entry("test.jsonl", recipe, cwd=tmp_path)
    assert entry == {"path": path, "template": recipe.data.train[0].template}


def test_an_entry_may_be_written_out(recipe: Recipe, tmp_path: Path) -> None:
    entry = evaluation_entry("{path: openai/gsm8k, name: main, split: test}", recipe, cwd=tmp_path)
    assert entry == {"path": "openai/gsm8k", "name": "main", "split": "test"}
    assert evaluation_entry("openai/gsm8k", recipe, cwd=tmp_path) == {"path": "openai/gsm8k"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nix.jsonl", "there is no file or folder `nix.jsonl`"),
        ("{path: train.jsonl, splt: x}", "did you mean `split`?"),
        ("{split: x}", "`path` is missing"),
        ("{path: [}", "--data {path: [}"),
        ("odd.jsonl", "odd.jsonl"),
    ],
)
def test_a_mistake_is_said_before_anything_is_started(recipe: Recipe, tmp_path: Path, text: str, what: str) -> None:
    written(tmp_path, "odd.jsonl", a=1)
    with pytest.raises(UserError) as caught:
        evaluation_entry(text, recipe, cwd=tmp_path)
    assert what in str(caught.value)
