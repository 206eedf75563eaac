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


MESSAGES = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
LONGER = {"messages": [*MESSAGES["messages"], *MESSAGES["messages"]]}
PAIRS, CONVERSATIONS, TEXT = "pairs of strings", "conversations", "plain text"


@pytest.mark.parametrize(
    ("row", "layout", "said"),
    [
        (MESSAGES, PAIRS, ["the format is messages", "taken as pairs of strings, as the run was trained"]),
        (MESSAGES, CONVERSATIONS, ["the format is messages"]),
        (LONGER, "pairs of messages", ["the format is messages", "taken as pairs of messages, as the run was trained"]),
        ({"prompt": "a", "completion": "b"}, CONVERSATIONS, ["the format is prompt_completion", "taken as conversa"]),
        ({"instruction": "a", "output": "b"}, CONVERSATIONS, ["the format is alpaca", "taken as conversations, as"]),
        (MESSAGES, None, ["the format is messages"]),
    ],
)
def test_rows_are_taken_as_the_run_was_trained(
    recipe: Recipe, tmp_path: Path, row: dict[str, Any], layout: str | None, said: list[str]
) -> None:
    written(tmp_path, "test.jsonl", **row)
    notes: list[str] = []
    evaluation_entry("test.jsonl", recipe, cwd=tmp_path, layout=layout, notes=notes)
    assert len(notes) == len(said)
    assert all(note.startswith(f"--data test.jsonl: {words}") for note, words in zip(notes, said, strict=True)), notes


@pytest.mark.parametrize(
    ("row", "layout", "what"),
    [
        (LONGER, PAIRS, "no row can be taken as pairs of strings, which the run was trained on: rows with more than"),
        (MESSAGES, TEXT, "holds conversations, and the run was trained on plain text"),
        ({"text": "a"}, PAIRS, "holds plain text, and the run was trained on pairs of strings"),
    ],
)
def test_rows_that_cannot_be_taken_so_are_refused(
    recipe: Recipe, tmp_path: Path, row: dict[str, Any], layout: str, what: str
) -> None:
    written(tmp_path, "test.jsonl", **row)
    with pytest.raises(UserError, match=what):
        evaluation_entry("test.jsonl", recipe, cwd=tmp_path, layout=layout)
